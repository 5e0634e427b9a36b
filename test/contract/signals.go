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

// resumeAlways is the flag of exec for a session of the session agent.
const resumeAlways = "--resume=always"

// signals end kshell, and with it the command.
var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}

// interrupt returns SIGINT, or SIGTERM if this process ignores SIGINT. Shells
// start background processes with SIGINT ignored, and children inherit that.
func interrupt() syscall.Signal {
	if signal.Ignored(syscall.SIGINT) {
		return syscall.SIGTERM
	}
	return syscall.SIGINT
}

// Signals sends each signal to kshell. It checks that the command in the
// container ends, too, that the signal ends kshell, without a message, and that
// no process is left.
func Signals(t *testing.T, p Program, flags ...string) {
	for name, sig := range signals {
		if signal.Ignored(sig) { // for example by nohup; children inherit that
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
			all := c.args[len(c.args)-1] == "--all"
			if all && slices.Contains(flags, resumeAlways) { // a session is in one pod
				continue
			}
			t.Run(what+" and "+name, func(t *testing.T) {
				t.Parallel()
				mark := newMark()
				r := p.signalled(t, sig,
					append(slices.Concat([]string{"exec"}, flags, c.args), "--", "sh", "-c", fmt.Sprintf(c.script, mark)))
				if want := 128 + int(sig); r.Code != want || r.Exited || r.Err != "" {
					t.Errorf("exit code %d (exited: %v), want %d by the signal; stderr %q", r.Code, r.Exited, want, r.Err)
				}
				if r.Took > cleanupTimeout {
					t.Errorf("it took %v to end", r.Took)
				}
				p.checkGone(t, mark, all)
			})
		}
	}
	t.Run("a time that has run out", func(t *testing.T) {
		t.Parallel()
		mark := newMark()
		r := p.Run(
			t,
			nil,
			append(slices.Concat([]string{"exec", "--timeout=5s"}, flags), "web", "--", "sh", "-c",
				fmt.Sprintf("echo up; sleep %d", mark))...)
		if r.Code != 124 || r.Out != "up\n" {
			t.Errorf("exit code %d, stdout %q, stderr %q", r.Code, r.Out, r.Err)
		}
		p.checkGone(t, mark, false)
	})
}

// newMark returns a number of seconds that identifies a sleep process.
func newMark() int64 { return 1_000_000_000 + rand.Int64N(1_000_000_000) } //nolint:gosec // not a secret

// signalled runs the program, with a stdin that does not end, and sends it a
// signal after the first line of output.
func (p Program) signalled(t *testing.T, sig syscall.Signal, args []string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
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
	return waitExit(ctx, t, cmd, start, &errs)
}

// waitExit waits for the exit of a program. The test fails if ctx ended first.
func waitExit(ctx context.Context, t *testing.T, cmd *exec.Cmd, start time.Time, errs *bytes.Buffer) Result {
	t.Helper()
	_ = cmd.Wait() // its result is in ProcessState
	if ctx.Err() != nil {
		t.Fatalf("%q still ran after %v; stderr %.500q", cmd.Args, runTimeout, errs)
	}
	return newResult("", errs.String(), cmd.ProcessState, start)
}

// listProcesses is a script that prints the command line of each process.
const listProcesses = `for p in /proc/[0-9]*/cmdline; do tr '\000' ' ' <$p; echo; done 2>/dev/null`

// checkGone waits until no process whose command line contains the mark runs in
// pod web, or in all pods of deploy/web. A command that ignores TERM is killed
// after about 5 s.
func (p Program) checkGone(t *testing.T, mark int64, all bool) {
	t.Helper()
	where := []string{"web"}
	if all {
		where = []string{"deploy/web", "--all"}
	}
	for late := time.Now().Add(cleanupTimeout); ; time.Sleep(200 * time.Millisecond) {
		r := p.Run(t, nil, append(append([]string{"exec", "--exact=never"}, where...), "--", "sh", "-c", listProcesses)...)
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
