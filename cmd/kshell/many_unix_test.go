//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/cleanup"
	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/sandbox"
)

// startPods runs a sandbox with so many pods of an image: many-0, many-1 and so on, labelled many=yes.
func startPods(t *testing.T, pods int, image string) *sandbox.Server {
	t.Helper()
	s := sandboxInProcess(t)
	for i := range pods {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}}}
		p.Name, p.Labels = fmt.Sprintf("many-%d", i), map[string]string{"many": "yes"}
		if err := s.AddPod(p); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// ranMany is how kshell exec -l many=yes --all has ended, run in this process.
type ranMany struct {
	out, err string
	code     int
}

func runMany(ctx context.Context, t *testing.T, s *sandbox.Server, args ...string) ranMany {
	t.Helper()
	var out bytes.Buffer
	got := runManyTo(ctx, &out, s, args...)
	got.out = out.String()
	return got
}

func runManyTo(ctx context.Context, out io.Writer, s *sandbox.Server, args ...string) ranMany {
	var errs bytes.Buffer
	line := append([]string{"exec", "--kubeconfig", s.Kubeconfig(), "-l", "many=yes", "--all"}, args...)
	code := run(ctx, streams{In: strings.NewReader(""), Out: out, Err: &errs}, &cleanup.Registry{}, line)
	return ranMany{err: errs.String(), code: code}
}

func TestACutLinkCostsOneOfThePods(t *testing.T) {
	s := startPods(t, 3, "")
	s.Inject(sandbox.Fault{Path: "many-1/exec", Do: sandbox.FIN, When: sandbox.AfterSent, N: 20_000})
	got := runMany(t.Context(), t, s, "--", "sh", "-c", "seq 1 20000")
	if got.code != outcome.ExitFailed {
		t.Errorf("exit code %d, want %d", got.code, outcome.ExitFailed)
	}
	lines := map[string]int{}
	for line := range strings.Lines(got.out) {
		pod, number, _ := strings.Cut(line, ": ")
		if lines[pod]++; pod != "many-1" && number != fmt.Sprintln(lines[pod]) {
			t.Fatalf("line %d of %s is %q", lines[pod], pod, number)
		}
	}
	if lines["many-0"] != 20000 || lines["many-2"] != 20000 || lines["many-1"] >= 20000 {
		t.Errorf("lines: %v", lines)
	}
	for _, words := range []string{
		"kshell: many-1: connection lost", "kshell: many-0          0  exited\n", "kshell: many-1        255  lost\n", "kshell: many-2          0  exited\n",
	} {
		if !strings.Contains("\n"+got.err, words) {
			t.Errorf("stderr lacks %q:\n%s", words, got.err)
		}
	}
}

// Finding out that exact mode is not possible costs a round trip: once, however many pods of the image there are.
func TestAnImageIsTriedOnce(t *testing.T) {
	s := startPods(t, 6, sandbox.NoShellImage)
	got := runMany(t.Context(), t, s, "--max-parallel", "4", "--", "hello")
	if n := s.Stats().Sessions; got.code != 0 || n != 8 && n != 6 {
		t.Errorf("exit code %d, %d sessions; stderr:\n%s", got.code, n, got.err)
	}
	asked := 0
	for _, one := range s.Sessions() {
		if one.Query.Get("command") == "sh" {
			asked++
		}
	}
	if lines := strings.Count(got.out, "\n"); asked > 1 || lines != 6 {
		t.Errorf("the script was sent %d times, and %d lines came:\n%s", asked, lines, got.out)
	}
}

// All pods but the first wait for its verdict, and not for its end.
func TestAPodIsNotKeptWaitingByAnotherOne(t *testing.T) {
	s := startPods(t, 3, "")
	const together = `cd "$0" && : >$$ && until [ "$(ls | wc -l)" -eq 3 ]; do sleep 0.1; done`
	got := runMany(t.Context(), t, s, "--timeout", deadline.String(), "--", "sh", "-c", together, t.TempDir())
	if got.code != 0 {
		t.Errorf("exit code %d: not at the same time\n%s", got.code, got.err)
	}
}

func TestNoMorePodsAtATimeThanAskedFor(t *testing.T) {
	s := startPods(t, 5, "")
	dir := t.TempDir()
	script := `cd "$0" && mkdir one.$$ && n=$(ls -d one.* | wc -l) && sleep 0.2 && rmdir one.$$ && echo $n`
	got := runMany(t.Context(), t, s, "--max-parallel", "2", "--", "sh", "-c", script, dir)
	lines := strings.Fields(got.out)
	if got.code != 0 || len(lines) != 10 {
		t.Fatalf("exit code %d:\n%s%s", got.code, got.out, got.err)
	}
	for i := 1; i < len(lines); i += 2 {
		if lines[i] > "2" {
			t.Errorf("%s at a time", lines[i])
		}
	}
}

// countdown is an output that does something when so many lines have come.
type countdown struct {
	lines int
	then  func()
}

func (c *countdown) Write(p []byte) (int, error) {
	c.lines -= bytes.Count(p, []byte("\n"))
	if c.lines <= 0 {
		c.then()
	}
	return len(p), nil
}

func TestASignalEndsAllPods(t *testing.T) {
	s := startPods(t, 3, "")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	out := &countdown{lines: 2, then: func() { cancel(cleanup.SignalError{Signal: syscall.SIGINT}) }}
	status := filepath.Join(t.TempDir(), "status")
	got := runManyTo(ctx, out, s, "--max-parallel", "2", "--status-file", status, "--", "sh", "-c", "echo up; exec sleep 60")
	if got.code != 130 || got.err != "" {
		t.Errorf("exit code %d, stderr %q", got.code, got.err)
	}
	for i := range 3 {
		idle, stop := context.WithTimeout(t.Context(), deadline)
		if err := s.WaitIdle(idle, "default", fmt.Sprintf("many-%d", i)); err != nil {
			t.Errorf("left behind: %v", err)
		}
		stop()
	}
	said, err := os.ReadFile(status)
	if err != nil || strings.Count(string(said), `"exitCode":130,"cause":"signal"`) != 3 {
		t.Errorf("status: %v\n%s", err, said)
	}
}

func TestAStatusLineForEachPod(t *testing.T) {
	s := startPods(t, 2, "")
	idle := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
	idle.Name, idle.Labels = "many-x", map[string]string{"many": "yes"}
	if err := s.AddPod(idle); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "status")
	got := runMany(t.Context(), t, s, "--status-file", file, "--", "sh", "-c", `echo x; test $(basename "$PWD") = none || exit 4`)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ends := map[string]outcome.Status{}
	for d := json.NewDecoder(bytes.NewReader(raw)); d.More(); {
		var s outcome.Status
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		ends[s.Pod] = s
	}
	if got.code != 255 || len(ends) != 3 || ends["many-x"].Cause != "not-running" || ends["many-x"].ExitCode != 255 {
		t.Errorf("exit code %d, status:\n%s", got.code, raw)
	}
	for _, name := range []string{"many-0", "many-1"} {
		if s := ends[name]; s.ExitCode != 4 || s.Cause != "exited" || s.Mode != remote.ModeExact || s.StdoutBytes != 2 || s.UID == "" || s.Container != "c" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
