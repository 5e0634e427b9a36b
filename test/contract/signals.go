package contract

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// signals are those that end kshell, and with it the command.
var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}

// interrupt is what Ctrl-C sends. Where that is ignored, as a shell has it for what it runs in the background, every child ignores it, too: then it is
// what ends a program as well.
func interrupt() syscall.Signal {
	if signal.Ignored(syscall.SIGINT) {
		return syscall.SIGTERM
	}
	return syscall.SIGINT
}

// Signals checks that what ends kshell ends the command in the container, too: in silence, with 128+n, and nothing is left.
func Signals(t *testing.T, p Program, flags ...string) {
	for name, sig := range signals {
		if signal.Ignored(sig) { // as nohup has it: what is ignored stays so in every child
			continue
		}
		for what, c := range map[string]struct {
			args   []string
			script string
		}{
			"a command that waits":  {[]string{"web"}, "echo up; sleep %d"},
			"a command that reads":  {[]string{"-i", "web"}, "echo up; cat >/dev/null; sleep %d"},
			"a command that prints": {[]string{"web"}, "echo up; sleep %d & yes"},
			"a group of commands":   {[]string{"web"}, "(sleep %[1]d; :) & (sleep %[1]d; :) & echo up; sleep %[1]d"},
			"commands in two pods":  {[]string{"deploy/web", "--all"}, "echo up; sleep %d"},
		} {
			t.Run(what+" and "+name, func(t *testing.T) {
				t.Parallel()
				mark := newMark()
				r := p.signalled(t, sig, append(slices.Concat([]string{"exec"}, flags, c.args), "--", "sh", "-c", fmt.Sprintf(c.script, mark)))
				if want := 128 + int(sig); r.Code != want || r.Err != "" {
					t.Errorf("exit code %d, want %d; stderr %q", r.Code, want, r.Err)
				}
				if r.Took > grace {
					t.Errorf("it took %v to end", r.Took)
				}
				p.mustBeGone(t, mark, c.args[len(c.args)-1] == "--all")
			})
		}
	}
	t.Run("a time that has run out", func(t *testing.T) {
		t.Parallel()
		mark := newMark()
		r := p.Run(t, nil, append(slices.Concat([]string{"exec", "--timeout=5s"}, flags), "web", "--", "sh", "-c", fmt.Sprintf("echo up; sleep %d", mark))...)
		if r.Code != 124 || r.Out != "up\n" {
			t.Errorf("exit code %d, stdout %q, stderr %q", r.Code, r.Out, r.Err)
		}
		p.mustBeGone(t, mark, false)
	})
}

// newMark is a number of seconds that no other process sleeps.
func newMark() int64 { return 1_000_000_000 + rand.Int64N(1_000_000_000) } //nolint:gosec // a test's

// signalled runs the program, with an input that does not end, until its first output, and sends it a signal.
func (p Program) signalled(t *testing.T, sig syscall.Signal, args []string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := p.Command(ctx, t, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); !strings.HasSuffix(line, "up\n") {
		t.Errorf("read %q (%v)", line, err)
	}
	start := time.Now()
	if err := cmd.Process.Signal(sig); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, lines)
	return ended(ctx, t, cmd, start, &errs)
}

// ended waits for a program, which hangs if ctx has ended it.
func ended(ctx context.Context, t *testing.T, cmd *exec.Cmd, start time.Time, errs *bytes.Buffer) Result {
	t.Helper()
	_ = cmd.Wait() // how it ended is in its state
	if ctx.Err() != nil {
		t.Fatalf("%q still ran after %v; stderr %.500q", cmd.Args, limit, errs)
	}
	return Result{Err: errs.String(), Code: cmd.ProcessState.ExitCode(), Took: time.Since(start)}
}

// lists is a script that says the command line of each process.
const lists = `for p in /proc/[0-9]*/cmdline; do tr '\000' ' ' <$p; echo; done 2>/dev/null`

// mustBeGone waits until no process with the mark runs in pod web, or in all pods of deploy/web. A command that does not hear TERM is killed after
// some 5 s.
func (p Program) mustBeGone(t *testing.T, mark int64, all bool) {
	t.Helper()
	where := []string{"web"}
	if all {
		where = []string{"deploy/web", "--all"}
	}
	for late := time.Now().Add(grace); ; time.Sleep(200 * time.Millisecond) {
		r := p.Run(t, nil, append(append([]string{"exec", "--exact=never"}, where...), "--", "sh", "-c", lists)...)
		var left []string
		for line := range strings.Lines(r.Out) {
			if strings.Contains(line, fmt.Sprint(mark)) {
				left = append(left, strings.TrimSpace(line))
			}
		}
		if r.Code == 0 && len(left) == 0 {
			return
		}
		if time.Now().After(late) {
			t.Errorf("left in the container (exit code %d, stderr %q): %.1000q", r.Code, r.Err, left)
			return
		}
	}
}
