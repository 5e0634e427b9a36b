//go:build unix

package sandbox_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/sandbox"
)

func TestImage_MissingCommands(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	tests := []struct {
		pod     string
		command []string
		out     string
		code    int    // -1: the command cannot run
		text    string // in the Status
	}{
		{"noshell", []string{"sh", "-c", "true"}, "", -1, `exec: \"sh\": executable file not found in $PATH`},
		{"noshell", []string{"/bin/sh"}, "", -1, `exec: \"/bin/sh\": stat /bin/sh: no such file or directory`},
		{"noshell", []string{"/usr/bin/env"}, "", -1, `no such file or directory`},
		{"noshell", []string{"head"}, "", -1, `exec: \"head\": executable file not found in $PATH`},
		{"noshell", []string{"/hello"}, "hello from a container without a shell\n", 0, ""},
		{"noshell", []string{"/args", "a b", "*", "$HOME", "ü"}, "a b\n*\n$HOME\nü\n", 0, ""},
		{"noshell", []string{"/exit", "42"}, "", 42, ""},
		{"noshell", []string{"false"}, "", 1, ""},
		{"noshell", []string{"/bin/true"}, "", 0, ""},
		{"nodd", []string{"dd"}, "", -1, `executable file not found in $PATH`},
		{"nodd", []string{"/usr/bin/head"}, "", -1, `no such file or directory`},
		{"nodd", []string{"sh", "-c", "command -v dd; command -v head; echo none | cat; exit 9"}, "none\n", 9, ""},
		{"nodd", []string{"/bin/sh", "-c", "exit 4"}, "", 4, ""},
	}
	for _, tt := range tests {
		r := dial(t, s, execPath(tt.pod, execQuery("oe", tt.command...)), v5).finish()
		r.checkClosed(t)
		if r.out != tt.out || r.code() != tt.code || !strings.Contains(r.status, tt.text) {
			t.Errorf("%s %q: %q %s", tt.pod, tt.command, r.out, r.status)
		}
	}
	c := dial(t, s, execPath("noshell", execQuery("io", "cat")), v5)
	c.send(0, "in")
	c.halfClose()
	if r := c.finish(); r.out != "in" || r.code() != 0 {
		t.Errorf("cat: %q %s", r.out, r.status)
	}
}

func TestAddImage(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{Empty: true})
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddImage("my/image:2", map[string]string{"cat": cat, "dog": cat}); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{}
	pod.Name = "mine"
	pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "my/image:2"}}
	if err := s.AddPod(pod); err != nil {
		t.Fatal(err)
	}
	c := dial(t, s, execPath("mine", execQuery("io", "dog")), v5)
	c.send(0, "woof")
	c.halfClose()
	if r := c.finish(); r.out != "woof" {
		t.Errorf("%q %s", r.out, r.status)
	}
	if r := dial(t, s, execPath("mine", execQuery("o", "true")), v5).finish(); !strings.Contains(
		r.status,
		"executable file not found",
	) {
		t.Errorf("%s", r.status)
	}
}

func TestFault_RefuseCommand(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	script := func(args []string) bool { return slices.Contains(args, "-c") }
	undo := s.Inject(sandbox.Fault{RefuseCommand: script})
	for _, p := range []string{v5, v4} {
		_, resp, body, err := tryDial(t, s, "sandbox", execPath("web", execQuery("o", "sh", "-c", "true")), p)
		var st metav1.Status
		if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden || json.Unmarshal(body, &st) != nil {
			t.Fatalf("%s: %v %v %s", p, err, resp, body)
		}
		want := `pods "web" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'y' denied request: no scripts`
		if st.Message != want || st.Reason != metav1.StatusReasonForbidden || st.Code != 403 {
			t.Errorf("%s: %s", p, body)
		}
		if r := dial(t, s, execPath("web", execQuery("o", "true")), p).finish(); r.code() != 0 {
			t.Errorf("%s: another command: %s", p, r.status)
		}
	}
	if _, resp, _, _ := tryDial(t, s, "sandbox", execPath("nope", execQuery("o", "sh", "-c", "true")), v5); resp == nil ||
		resp.StatusCode != http.StatusNotFound {
		t.Errorf("a pod that does not exist: %v, want 404", resp)
	}
	undo()
	s.Inject(sandbox.Fault{RefuseCommand: script, Refusal: &metav1.Status{Code: 422, Reason: "Invalid", Message: "no"}})
	if _, resp, _, _ := tryDial(t, s, "sandbox", execPath("web", execQuery("o", "sh", "-c", "true")), v5); resp == nil ||
		resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a policy with its own refusal: %v, want 422", resp)
	}
}

// environment returns the variables that `env -0` prints.
func environment(t *testing.T, s *sandbox.Server, pod, streams string) map[string]string {
	t.Helper()
	r := dial(t, s, execPath(pod, execQuery(streams, "env", "-0")), v5).finish()
	if r.code() != 0 {
		t.Fatalf("env: %s", r.status)
	}
	got := map[string]string{}
	for v := range strings.SplitSeq(strings.TrimSuffix(r.out, "\x00"), "\x00") {
		name, value, _ := strings.Cut(v, "=")
		if _, twice := got[name]; twice {
			t.Errorf("%s is set twice", name)
		}
		got[name] = value
	}
	return got
}

func TestEnvironment_OnlyOfContainer(t *testing.T) {
	t.Setenv("LEAK", "of the test's process")
	t.Setenv("SHLVL", "5")
	s := start(t, sandbox.Config{})
	want := []string{
		"HOME", "HOSTNAME",
		"KUBERNETES_PORT", "KUBERNETES_PORT_443_TCP", "KUBERNETES_PORT_443_TCP_ADDR", "KUBERNETES_PORT_443_TCP_PORT",
		"KUBERNETES_PORT_443_TCP_PROTO", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT",
		"KUBERNETES_SERVICE_PORT_HTTPS",
		"PATH", "SANDBOX_CONTAINER",
	}
	got := environment(t, s, "web", "o")
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got["HOSTNAME"] != "web" || got["HOME"] != s.Dir("default", "web", "web") ||
		"https://"+got["KUBERNETES_SERVICE_HOST"]+":"+got["KUBERNETES_SERVICE_PORT"] != s.URL() {
		t.Errorf("%v", got)
	}
	onTTY := slices.Sorted(maps.Keys(environment(t, s, "web", "ot")))
	if diff := cmp.Diff(slices.Sorted(slices.Values(append(want, "HISTFILE", "LANG", "PS1", "TERM"))), onTTY); diff != "" {
		t.Errorf("on a terminal (-want +got):\n%s", diff)
	}
}

func TestEnvironment_PodVariables(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{Empty: true})
	env := map[string]string{
		"my.var": "dotted", "PWD": "/not/here", "SHLVL": "7", "_": "under", "LINES": "one\ntwo\n", "EMPTY": "",
		"HOME":     "/root",
		"quote'\"": "it's $HOME `x`", "ü-1": "ä", "TERM": "dumb", "PATH": "/bin:/usr/bin",
	}
	pod := &corev1.Pod{}
	pod.Name = "odd"
	pod.Spec.Containers = []corev1.Container{{Name: "c"}}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: name, Value: env[name]})
	}
	if err := s.AddPod(pod); err != nil {
		t.Fatal(err)
	}
	got := environment(t, s, "odd", "o")
	for name, value := range env {
		if is, ok := got[name]; !ok || is != value {
			t.Errorf("%s is %q (%v), want %q", name, is, ok, value)
		}
	}
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	if got := s.Processes("default", "multi"); len(got) != 2 || !got[0].Main || !got[1].Main ||
		got[0].Container == got[1].Container {
		t.Fatalf("before: %v, want the two main processes", got)
	}
	if got := s.Processes("default", "nope"); got != nil {
		t.Errorf("of no pod: %v", got)
	}
	// One process has left its session, and one has no environment.
	q := execQuery("o", "sh", "-c", "setsid sleep 1001 & env -i sleep 1002 & echo up; exec sleep 1003")
	q.Set("container", "b")
	c := dial(t, s, execPath("multi", q), v5)
	c.readUntil("up")
	want := []string{"sleep 1001", "sleep 1002", "sleep 1003"}
	var list []sandbox.Process
	waitFor(t, "the processes", func() bool {
		list = slices.DeleteFunc(s.Processes("default", "multi"), func(p sandbox.Process) bool { return p.Main })
		var args []string
		for _, p := range list {
			args = append(args, strings.Join(p.Args, " "))
		}
		return cmp.Equal(want, slices.Sorted(slices.Values(args)))
	})
	if got := s.Processes("default", "web"); len(got) != 1 {
		t.Errorf("of another pod: %v", got)
	}
	soon, cancel := context.WithTimeout(c.ctx, 20*time.Millisecond)
	defer cancel()
	if err := s.WaitIdle(soon, "default", "multi"); err == nil || !strings.Contains(err.Error(), "in b: sleep 1002") {
		t.Errorf("WaitIdle: %v", err)
	}
	for _, p := range list {
		if p.Container != "b" {
			t.Errorf("%v", p)
		}
		_ = syscall.Kill(p.Pid, syscall.SIGKILL)
	}
	if err := s.WaitIdle(c.ctx, "default", "multi"); err != nil {
		t.Error(err)
	}
	if dir := s.Dir("default", "multi", "b"); !filepath.IsAbs(dir) {
		t.Errorf("dir %q", dir)
	}
}

// From the start, cat is the only process of a pod without a command.
func TestContainer_Idle(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	list := s.Processes("default", "web")
	if len(list) != 1 || !list[0].Main || !slices.Equal(list[0].Args, []string{"cat"}) {
		t.Errorf("processes %v", list)
	}
	waitFor(t, "the first line of the log", func() bool {
		resp, err := httpClient(t, s, "sandbox").Get(s.URL() + "/api/v1/namespaces/default/pods/web/log")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		log, _ := io.ReadAll(resp.Body)
		return string(log) == "web: started\n"
	})
}
