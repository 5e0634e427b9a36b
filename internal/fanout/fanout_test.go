package fanout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/cleanup"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

// fakeCommand is a Command whose methods Open and Run call the functions open
// and run. If a function is nil, the method succeeds.
type fakeCommand struct {
	pod    string
	open   func(ctx context.Context) error
	run    func(ctx context.Context, stdout, stderr io.Writer) error
	closed atomic.Int32
}

func (c *fakeCommand) Open(ctx context.Context, _ *notice.Printer) error {
	if c.open == nil {
		return nil
	}
	return c.open(ctx)
}

func (c *fakeCommand) Container() Container { return Container{Pod: c.pod, Name: "c"} }

func (c *fakeCommand) Run(ctx context.Context, _ *notice.Printer, stdout, stderr io.Writer) error {
	if c.run == nil {
		return nil
	}
	return c.run(ctx, stdout, stderr)
}

func (c *fakeCommand) Status(start time.Time, err error) outcome.Status {
	s := outcome.NewStatus(start, err)
	s.Pod = c.pod
	return s
}

func (c *fakeCommand) Close() { c.closed.Add(1) }

// targetsOf returns a target for each command, named a, b and so on.
func targetsOf(commands ...*fakeCommand) []Target {
	targets := make([]Target, len(commands))
	for i, c := range commands {
		c.pod = string(rune('a' + i))
		targets[i] = Target{Title: c.pod, Command: c}
	}
	return targets
}

// optionsOf returns options that write to stdout and stderr.
func optionsOf(stdout, stderr io.Writer) Options {
	return Options{Parallel: 10, Stdout: stdout, Stderr: stderr, Notice: notice.New(stderr)}
}

func checkClosed(t *testing.T, commands ...*fakeCommand) {
	t.Helper()
	for _, c := range commands {
		if n := c.closed.Load(); n != 1 {
			t.Errorf("%s was closed %d times, want once", c.pod, n)
		}
	}
}

func TestRun_Success(t *testing.T) {
	hello := func(_ context.Context, stdout, stderr io.Writer) error {
		_, _ = io.WriteString(stdout, "out")
		_, _ = io.WriteString(stderr, "err\n")
		return nil
	}
	a, b := &fakeCommand{run: hello}, &fakeCommand{run: hello}
	var stdout, stderr bytes.Buffer
	o := optionsOf(&stdout, &stderr)
	o.Parallel = 1
	if err := Run(t.Context(), targetsOf(a, b), o); err != nil {
		t.Error(err)
	}
	if stdout.String() != "a: out\nb: out\n" || stderr.String() != "a: err\nb: err\n" {
		t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
	}
	checkClosed(t, a, b)
}

func TestRun_FailuresAreReported(t *testing.T) {
	exit := func(code int) func(context.Context, io.Writer, io.Writer) error {
		return func(context.Context, io.Writer, io.Writer) error { return &stream.ExitError{Code: code} }
	}
	commands := []*fakeCommand{
		{run: exit(3)},
		{open: func(context.Context) error { return &pod.NotRunningError{} }, run: exit(1)},
		{run: func(context.Context, io.Writer, io.Writer) error { return &stream.LostError{Err: errors.New("reset")} }},
		{},
	}
	var stdout, stderr, status bytes.Buffer
	o := optionsOf(&stdout, &stderr)
	o.Parallel, o.Status = 1, &status
	err := Run(t.Context(), targetsOf(commands...), o)
	var failed *outcome.FanoutError
	if !errors.As(err, &failed) || *failed != (outcome.FanoutError{ExitCode: 255, Failed: 3, Pods: 4}) {
		t.Errorf("error %#v", err)
	}
	want := "kshell: " + (&pod.NotRunningError{}).Error() + `
kshell: c: connection lost: reset
kshell: POD  EXIT CODE  CAUSE
kshell: a            3  exited
kshell: b          255  not-running
kshell: c          255  lost
kshell: d            0  exited
`
	if diff := cmp.Diff(want, stderr.String()); diff != "" {
		t.Errorf("stderr (-want +got):\n%s", diff)
	}
	type record struct {
		Pod   string
		Cause outcome.Cause
	}
	var got []record
	for d := json.NewDecoder(&status); d.More(); {
		var r record
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if diff := cmp.Diff([]record{{"a", "exited"}, {"b", "not-running"}, {"c", "lost"}, {"d", "exited"}}, got); diff != "" {
		t.Errorf("status records (-want +got):\n%s", diff)
	}
	checkClosed(t, commands...)
}

func TestRun_JSONNamesTheContainerThatOpenCreated(t *testing.T) {
	c := &fakeCommand{}
	targets := []Target{{Title: "node-1", Node: "node-1", Command: c}}
	c.open = func(context.Context) error {
		c.pod = "created"
		return nil
	}
	c.run = func(_ context.Context, stdout, _ io.Writer) error {
		_, err := io.WriteString(stdout, "hi\n")
		return err
	}
	var stdout bytes.Buffer
	o := optionsOf(&stdout, io.Discard)
	o.Format = JSON
	if err := Run(t.Context(), targets, o); err != nil {
		t.Error(err)
	}
	want := `{"node":"node-1","pod":"created","container":"c","stream":"stdout","line":"hi"}
{"node":"node-1","pod":"created","container":"c","exitCode":0,"cause":"exited"}
`
	if diff := cmp.Diff(want, stdout.String()); diff != "" {
		t.Errorf("stdout (-want +got):\n%s", diff)
	}
}

func TestRun_FoldedOmitsCommandsThatDidNotRun(t *testing.T) {
	same := func(_ context.Context, stdout, _ io.Writer) error {
		_, err := io.WriteString(stdout, "same\n")
		return err
	}
	a, b := &fakeCommand{run: same}, &fakeCommand{run: same}
	c := &fakeCommand{open: func(context.Context) error { return errors.New("no") }}
	var stdout bytes.Buffer
	o := optionsOf(&stdout, io.Discard)
	o.Format = Folded
	_ = Run(t.Context(), targetsOf(a, b, c), o)
	if want := rule + "\na, b\n" + rule + "\nsame\n"; stdout.String() != want {
		t.Errorf("stdout %q, want %q", &stdout, want)
	}
}

func TestRun_Parallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := 0, 0
		commands := make([]*fakeCommand, 7)
		for i := range commands {
			commands[i] = &fakeCommand{run: func(context.Context, io.Writer, io.Writer) error {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				running--
				mu.Unlock()
				return nil
			}}
		}
		o := optionsOf(io.Discard, io.Discard)
		o.Parallel = 3
		start := time.Now()
		if err := Run(t.Context(), targetsOf(commands...), o); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); most != 3 || took != 3*time.Second {
			t.Errorf("%d commands at the same time, want 3; took %v, want 3s", most, took)
		}
	})
}

// waitForEnd is a command that runs until its context ends.
func waitForEnd(ctx context.Context, _, _ io.Writer) error {
	<-ctx.Done()
	return outcome.ContextCause(ctx, ctx.Err())
}

func TestRun_TimeoutIsForEachCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeCommand{run: waitForEnd}, &fakeCommand{run: waitForEnd}
		var stderr bytes.Buffer
		o := optionsOf(io.Discard, &stderr)
		o.Parallel, o.Timeout = 1, time.Minute
		start := time.Now()
		err := Run(t.Context(), targetsOf(a, b), o)
		if got := outcome.Classify(err).ExitCode; got != outcome.ExitTimeout || time.Since(start) != 2*time.Minute {
			t.Errorf("error %v after %v, want a timeout after 2m", err, time.Since(start))
		}
		if n := strings.Count(stderr.String(), " 124  timeout\n"); n != 2 {
			t.Errorf("stderr reports %d timeouts, want 2:\n%s", n, &stderr)
		}
	})
}

func TestRun_SignalEndsAll(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	commands := []*fakeCommand{{run: waitForEnd}, {run: waitForEnd}, {open: func(context.Context) error {
		t.Error("a command was opened after the signal")
		return nil
	}}}
	var started atomic.Int32
	for _, c := range commands[:2] {
		c.open = func(context.Context) error {
			if started.Add(1) == 2 {
				cancel(cleanup.SignalError{Signal: syscall.SIGINT})
			}
			return nil
		}
	}
	var stderr, status bytes.Buffer
	o := optionsOf(io.Discard, &stderr)
	o.Parallel, o.Status = 2, &status
	err := Run(ctx, targetsOf(commands...), o)
	if !errors.Is(err, cleanup.SignalError{Signal: syscall.SIGINT}) || stderr.Len() > 0 {
		t.Errorf("error %v, stderr %q", err, &stderr)
	}
	if n := strings.Count(status.String(), `"exitCode":130,"cause":"signal"`); n != 3 {
		t.Errorf("%d status records, want 3:\n%s", n, &status)
	}
	checkClosed(t, commands...)
}

// brokenWriter fails.
type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestRun_StdoutErrorEndsAll(t *testing.T) {
	writes := &fakeCommand{run: func(_ context.Context, stdout, _ io.Writer) error {
		_, err := io.WriteString(stdout, "x\n")
		return err
	}}
	waits := &fakeCommand{run: waitForEnd}
	var stderr bytes.Buffer
	err := Run(t.Context(), targetsOf(writes, waits), optionsOf(brokenWriter{syscall.EPIPE}, &stderr))
	var failed *stream.OutputError
	if !errors.As(err, &failed) || !errors.Is(failed.Err, syscall.EPIPE) || stderr.Len() > 0 {
		t.Errorf("error %v, stderr %q", err, &stderr)
	}
	checkClosed(t, writes, waits)
}

func TestRun_StderrErrorIsIgnored(t *testing.T) {
	c := &fakeCommand{run: func(_ context.Context, stdout, stderr io.Writer) error {
		if _, err := io.WriteString(stderr, "x\n"); err != nil {
			return err
		}
		_, err := io.WriteString(stdout, "y\n")
		return err
	}}
	var stdout bytes.Buffer
	err := Run(t.Context(), targetsOf(c), optionsOf(&stdout, brokenWriter{syscall.EPIPE}))
	if err != nil || stdout.String() != "a: y\n" {
		t.Errorf("error %v, stdout %q", err, &stdout)
	}
}

func TestRun_PanicIsPassedOnAfterAllHaveClosed(t *testing.T) {
	panics := &fakeCommand{run: func(context.Context, io.Writer, io.Writer) error { panic("boom") }}
	waits := &fakeCommand{run: waitForEnd}
	func() {
		defer func() {
			if text := fmt.Sprint(recover()); !strings.Contains(text, "boom") {
				t.Errorf("recovered %q", text)
			}
		}()
		_ = Run(t.Context(), targetsOf(panics, waits), optionsOf(io.Discard, io.Discard))
	}()
	checkClosed(t, panics, waits)
}

func TestRun_StatusError(t *testing.T) {
	var stderr bytes.Buffer
	o := optionsOf(io.Discard, &stderr)
	o.Status = brokenWriter{errors.New("disk full")}
	if err := Run(t.Context(), targetsOf(&fakeCommand{}), o); err != nil {
		t.Error(err)
	}
	if want := "kshell: warning: the status could not be written: disk full\n"; stderr.String() != want {
		t.Errorf("stderr %q, want %q", &stderr, want)
	}
}
