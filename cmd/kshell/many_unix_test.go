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
	"regexp"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/cleanup"
	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/sandbox"
)

// startPods runs a sandbox with pods named many-0, many-1 and so on, with the
// label many=yes.
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

// manyResult is the result of kshell exec -l many=yes --all.
type manyResult struct {
	out, err string
	code     int
}

// runMany runs kshell exec -l many=yes --all in this process.
func runMany(ctx context.Context, t *testing.T, s *sandbox.Server, args ...string) manyResult {
	t.Helper()
	var out bytes.Buffer
	got := runManyTo(ctx, &out, s, args...)
	got.out = out.String()
	return got
}

// runManyTo is like runMany, but kshell writes its stdout to out.
func runManyTo(ctx context.Context, out io.Writer, s *sandbox.Server, args ...string) manyResult {
	var errs bytes.Buffer
	line := append([]string{"exec", "--kubeconfig", s.Kubeconfig(), "-l", "many=yes", "--all"}, args...)
	code := run(ctx, streams{In: strings.NewReader(""), Out: out, Err: &errs}, &cleanup.Registry{}, line)
	return manyResult{err: errs.String(), code: code}
}

func TestMany_LostConnectionEndsOneCommand(t *testing.T) {
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
	for _, message := range []string{
		"kshell: many-1: the connection broke",
		"kshell: many-0          0  exited\n",
		"kshell: many-1        255  lost\n",
		"kshell: many-2          0  exited\n",
	} {
		if !strings.Contains("\n"+got.err, message) {
			t.Errorf("stderr lacks %q:\n%s", message, got.err)
		}
	}
}

// kshell needs a round trip to find out that exact mode is not possible. It
// does so only once for all pods of an image.
func TestMany_ExactModeIsTriedOncePerImage(t *testing.T) {
	s := startPods(t, 6, sandbox.NoShellImage)
	got := runMany(t.Context(), t, s, "--max-parallel", "4", "--", "hello")
	if n := s.Stats().Sessions; got.code != 0 || n != 8 && n != 6 {
		t.Errorf("exit code %d, %d sessions; stderr:\n%s", got.code, n, got.err)
	}
	scripts := 0
	for _, one := range s.Sessions() {
		if one.Query.Get("command") == "sh" {
			scripts++
		}
	}
	if lines := strings.Count(got.out, "\n"); scripts > 1 || lines != 6 {
		t.Errorf("%d scripts, want at most 1; %d lines of output, want 6:\n%s", scripts, lines, got.out)
	}
}

// The command in the first pod of an image finds out whether exact mode is
// possible. The other pods wait for this result, but not for the end of that
// command.
func TestMany_CommandsRunAtTheSameTime(t *testing.T) {
	s := startPods(t, 3, "")
	const together = `cd "$0" && : >$$ && until [ "$(ls | wc -l)" -eq 3 ]; do sleep 0.1; done`
	got := runMany(t.Context(), t, s, "--timeout", deadline.String(), "--", "sh", "-c", together, t.TempDir())
	if got.code != 0 {
		t.Errorf("exit code %d: the commands did not run at the same time\n%s", got.code, got.err)
	}
}

func TestMany_MaxParallel(t *testing.T) {
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
			t.Errorf("%s commands at the same time, want at most 2", lines[i])
		}
	}
}

// lineTrigger is a writer. The field lines is the number of lines that are yet
// to be written. When it is 0 or less, Write calls the function in the field
// then.
type lineTrigger struct {
	lines int
	then  func()
}

func (c *lineTrigger) Write(p []byte) (int, error) {
	c.lines -= bytes.Count(p, []byte("\n"))
	if c.lines <= 0 {
		c.then()
	}
	return len(p), nil
}

func TestMany_SignalEndsAllCommands(t *testing.T) {
	s := startPods(t, 3, "")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	out := &lineTrigger{lines: 2, then: func() { cancel(cleanup.SignalError{Signal: syscall.SIGINT}) }}
	status := filepath.Join(t.TempDir(), "status")
	got := runManyTo(ctx, out, s, "--max-parallel", "2", "--status-file", status, "--",
		"sh", "-c", "echo up; exec sleep 60")
	if got.code != 130 || got.err != "" {
		t.Errorf("exit code %d, stderr %q", got.code, got.err)
	}
	for i := range 3 {
		idle, stop := context.WithTimeout(t.Context(), deadline)
		if err := s.WaitIdle(idle, "default", fmt.Sprintf("many-%d", i)); err != nil {
			t.Errorf("a command of many-%d still runs: %v", i, err)
		}
		stop()
	}
	records, err := os.ReadFile(status)
	if err != nil || strings.Count(string(records), `"exitCode":130,"cause":"signal"`) != 3 {
		t.Errorf("status: %v\n%s", err, records)
	}
}

func TestMany_StatusRecordPerPod(t *testing.T) {
	s := startPods(t, 2, "")
	pending := &corev1.Pod{
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	pending.Name, pending.Labels = "many-x", map[string]string{"many": "yes"}
	if err := s.AddPod(pending); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "status")
	got := runMany(t.Context(), t, s, "--status-file", file, "--", "sh", "-c", "echo x; exit 4")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	records := map[string]outcome.Status{}
	for d := json.NewDecoder(bytes.NewReader(raw)); d.More(); {
		var s outcome.Status
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		records[s.Pod] = s
	}
	x := records["many-x"]
	if got.code != 255 || len(records) != 3 || x.Cause != outcome.NotRunning || x.ExitCode != 255 {
		t.Errorf("exit code %d, status:\n%s", got.code, raw)
	}
	for _, name := range []string{"many-0", "many-1"} {
		s := records[name]
		if s.ExitCode != 4 || s.Cause != outcome.Exited || s.Mode != remote.ModeExact || s.StdoutBytes != 2 ||
			s.UID == "" || s.Container != "c" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// A pod cannot print a line that seems to come from another pod.
func TestMany_ControlCharactersOnTerminal(t *testing.T) {
	t.Parallel()
	s := startPods(t, 2, "")
	const forge = `printf 'x\rmany-9: forged\033[1A\033[31mred\n\233\r\n'`
	for _, script := range []string{forge, forge + " >&2"} {
		for _, flags := range [][]string{nil, {"--fold"}} {
			args := append([]string{"exec", "-l", "many=yes", "--all"}, flags...)
			c := open(t, s, program(t), append(args, "--", "sh", "-c", script)...)
			c.waitFor(regexp.QuoteMeta("x^Mmany-9: forged^[[1A\x1b[31mred\x1b[0m\r\n"))
			c.waitFor(regexp.QuoteMeta("\\x9b\r\n"))
			c.mustEnd(0)
		}
	}
}
