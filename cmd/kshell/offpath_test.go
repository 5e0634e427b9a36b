//go:build unix

package main

import (
	"bytes"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/cleanup"
	"kshell/internal/outcome"
	"kshell/internal/sandbox"
)

// startOffPath runs a sandbox with pods whose PATH does not contain sh although
// there is a /bin/sh, as with an image that sets ENV PATH=/opt/tools.
func startOffPath(t *testing.T, pods ...string) *sandbox.Server {
	t.Helper()
	s := runSandbox(t, sandbox.Config{Empty: true})
	for _, name := range pods {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "c", Image: "tools:1", Command: []string{"/bin/sleep", "600"},
			Env: []corev1.EnvVar{{Name: "PATH", Value: "/opt/tools"}},
		}}}}
		p.Name, p.Labels = name, map[string]string{"many": "yes"}
		if err := s.AddPod(p); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// programs counts the exec requests by program.
func programs(s *sandbox.Server) map[string]int {
	n := map[string]int{}
	for _, x := range s.Sessions() {
		n[x.Query.Get("command")]++
	}
	return n
}

func TestShellOffPath_Command(t *testing.T) {
	t.Parallel()
	s := startOffPath(t, "tools")
	for name, c := range map[string]struct {
		in, out string
		args    []string
		code    int
	}{
		"a command":       {"", "/opt/tools\n", []string{"tools", "--", "/bin/sh", "-c", "echo $PATH; exit 7"}, 7},
		"its environment": {"", "A=1\n", []string{"--env", "A=1", "tools", "--", "/usr/bin/env"}, 0},
		"input":           {"hello\n", "hello\n", []string{"-i", "tools", "--", "/bin/cat"}, 0},
		"a directory":     {"", "/tmp\n", []string{"--workdir", "/tmp", "tools", "--", "/bin/pwd"}, 0},
		"not in its PATH": {"", "", []string{"tools", "--", "cat"}, outcome.ExitNotFound},
	} {
		var out, errs bytes.Buffer
		line := append([]string{"exec", "-v", "--kubeconfig", s.Kubeconfig()}, c.args...)
		code := run(t.Context(), streams{In: strings.NewReader(c.in), Out: &out, Err: &errs}, &cleanup.Registry{}, line)
		if code != c.code || !strings.Contains(out.String(), c.out) {
			t.Errorf("%s: exit code %d, stdout %q; want %d, %q; stderr %q", name, code, &out, c.code, c.out, &errs)
		}
		if code != outcome.ExitNotFound && strings.Contains(errs.String(), "not in exact mode") {
			t.Errorf("%s: stderr %q", name, &errs)
		}
	}
}

func TestShellOffPath_Interactive(t *testing.T) {
	t.Parallel()
	s := startOffPath(t, "tools")
	c := open(t, s, program(t), "exec", "tools")
	c.waitFor(`tools\$ `)
	c.keys("echo $0 $PATH; exit 4\r")
	c.waitFor(`/bin/(ba)?sh /opt/tools\r`)
	c.mustEnd(4)
	if got := programs(s); got["sh"] != 1 || got["/bin/sh"] != 1 || len(got) != 2 {
		t.Errorf("commands: %v", got)
	}
}

// With --exact=never, kshell tries the same shells as with its script.
func TestShellOffPath_Plain(t *testing.T) {
	t.Parallel()
	s := startOffPath(t, "tools")
	c := open(t, s, program(t), "exec", "--exact=never", "tools")
	c.waitFor(`tools\$ `)
	c.keys("echo $0 $PATH; exit 4\r")
	c.waitFor(`/bin/(ba)?sh /opt/tools\r`)
	c.mustEnd(4)
}

// Whether sh is in the PATH is determined once for an image.
func TestShellOffPath_ManyPods(t *testing.T) {
	t.Parallel()
	s := startOffPath(t, "tools-1", "tools-2", "tools-3", "tools-4")
	got := runMany(t.Context(), t, s, "--", "/bin/sh", "-c", "exit 3")
	if n := programs(s); got.code != 3 || n["sh"] != 1 || n["/bin/sh"] != 4 {
		t.Errorf("exit code %d, commands: %v; stderr:\n%s", got.code, n, got.err)
	}
}

// /bin/sh is tried only after the error "not found".
func TestShellOffPath_OnlyAfterNotFound(t *testing.T) {
	t.Parallel()
	s := startOffPath(t, "tools")
	s.Inject(sandbox.Fault{Path: "tools/exec", Do: sandbox.RST, When: sandbox.AfterSent, N: 1})
	var out, errs bytes.Buffer
	line := []string{"exec", "--kubeconfig", s.Kubeconfig(), "tools", "--", "/bin/true"}
	code := run(t.Context(), streams{In: strings.NewReader(""), Out: &out, Err: &errs}, &cleanup.Registry{}, line)
	if n := programs(s); code != outcome.ExitFailed || n["/bin/sh"] != 0 || n["/bin/true"] != 0 {
		t.Errorf("exit code %d, commands: %v; stderr %q", code, n, &errs)
	}
}
