//go:build unix

package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// These tests run the test binary as another program (a role), because the
// state of a terminal after the end of a process can only be tested from
// another process.

const roleVariable = "KSHELL_TERMINAL_TEST_ROLE"

// roles are the programs that the test binary can run as. Each returns an exit
// code.
var roles = map[string]func() int{
	"return":          func() int { return inRaw(func(*Terminal) error { return nil }) },
	"error":           func() int { return inRaw(func(*Terminal) error { return errors.New("no") }) },
	"panic":           func() int { return inRaw(func(*Terminal) error { panic("boom") }) },
	"goroutine panic": func() int { return inRaw(panicInGoroutine) },
	"signal":          func() int { return inRaw(waitForSignal) },
	"no restore":      exitInRaw,
	"read":            readStdin,
	"shell":           runShell,
	"job":             runJob,
}

func runRole(role string) int {
	run, ok := roles[role]
	if !ok {
		return 99
	}
	return run()
}

// inRaw sets raw mode, defers restore as a program should, and calls run.
func inRaw(run func(*Terminal) error) int {
	terminal, err := Open(os.Stdin, os.Stdin, nil)
	if err != nil {
		return 98
	}
	restore, err := terminal.Raw()
	if err != nil {
		return 97
	}
	defer restore()
	fmt.Println("raw")
	if err := run(terminal); err != nil {
		return 3
	}
	return 0
}

func panicInGoroutine(t *Terminal) error {
	go func() {
		defer t.RestoreOnPanic()
		panic("boom")
	}()
	select {}
}

func waitForSignal(*Terminal) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	defer stop()
	fmt.Println("waiting")
	<-ctx.Done()
	return ctx.Err()
}

func exitInRaw() int {
	if _, err := term.MakeRaw(int(os.Stdin.Fd())); err != nil {
		return 97
	}
	return 0
}

func readStdin() int {
	in, err := NewInput(os.Stdin)
	if err != nil {
		return 98
	}
	text, err := io.ReadAll(in)
	fmt.Printf("%q %v %v", text, err, in.Cancel())
	return 0
}

func command(t *testing.T, role string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0")
	return cmd
}

func TestRestore_EndOfProcess(t *testing.T) {
	tests := []struct {
		name     string
		role     string
		signal   os.Signal
		wantCode int
		wantText string // on stderr
		changed  bool
	}{
		{name: "return", role: "return"},
		{name: "error", role: "error", wantCode: 3},
		{name: "panic", role: "panic", wantCode: 2, wantText: "panic: boom"},
		{name: "panic in another goroutine", role: "goroutine panic", wantCode: 2, wantText: "terminal.panicInGoroutine"},
		{name: "INT", role: "signal", signal: unix.SIGINT, wantCode: 3},
		{name: "TERM", role: "signal", signal: unix.SIGTERM, wantCode: 3},
		{name: "HUP", role: "signal", signal: unix.SIGHUP, wantCode: 3},
		{name: "QUIT", role: "signal", signal: unix.SIGQUIT, wantCode: 3},
		{name: "no restore (to verify the test)", role: "no restore", changed: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, tty := openPty(t)
			before := modesOf(t, tty)
			cmd := command(t, tt.role)
			cmd.Stdin = tty
			var stderr strings.Builder
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for lines := bufio.NewScanner(stdout); lines.Scan(); {
				if lines.Text() != "waiting" {
					continue
				}
				if modesOf(t, tty) == before {
					t.Error("the program is not in raw mode")
				}
				if err := cmd.Process.Signal(tt.signal); err != nil {
					t.Error(err)
				}
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != tt.wantCode {
				t.Errorf("exit code %d, want %d; stderr:\n%s", got, tt.wantCode, stderr.String())
			}
			if !strings.Contains(stderr.String(), tt.wantText) {
				t.Errorf("stderr lacks %q:\n%s", tt.wantText, stderr.String())
			}
			if changed := modesOf(t, tty) != before; changed != tt.changed {
				t.Errorf("modes changed: %v, want %v", changed, tt.changed)
			}
		})
	}
}

func TestInput_ClosedStdin(t *testing.T) {
	cmd := command(t, "read")
	closed := exec.CommandContext(t.Context(), "/bin/sh", "-c", `exec "$0" <&-`, cmd.Path)
	closed.Env = cmd.Env
	got, err := closed.CombinedOutput()
	if want := `"" <nil> true`; string(got) != want || err != nil {
		t.Errorf("read %s, %v; want %s", got, err, want)
	}
}

// TestJobControl runs a shell, which is the leader of the terminal's session,
// and a job of the shell. Shell and job are this test binary. Each reads
// commands from its stdin, one per line, and has the terminal as descriptor 3.

const ttyFd = 3

func jobTty() *os.File { return os.NewFile(ttyFd, "tty") }

// runJob executes the commands in its stdin and prints the error of each.
func runJob() int {
	signal.Ignore(unix.SIGTTIN) // otherwise a read in the background would stop the process
	terminal, err := Open(jobTty(), jobTty(), nil)
	if err != nil {
		return 98
	}
	in, err := NewInput(jobTty())
	if err != nil {
		return 97
	}
	restore := func() {}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "raw":
			var undo func()
			if undo, err = terminal.Raw(); err == nil {
				restore = undo
			}
		case "restore":
			restore()
			err = nil
		case "read":
			_, err = in.Read(make([]byte, 100))
		case "await EOF":
			err = nil
			if AwaitEOF(context.Background(), jobTty()) {
				err = io.EOF
			}
		case "await Enter":
			err = nil
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			if AwaitEnter(ctx, jobTty()) {
				err = io.EOF
			}
			cancel()
		}
		fmt.Println(err)
	}
	return 0
}

// runShell starts a job, executes the commands in its stdin and prints the
// results. It passes commands that it does not know to the job.
func runShell() int {
	tty := jobTty()
	before, err := term.GetState(ttyFd)
	if err != nil {
		return 98
	}
	job, commands, results, err := startJob(tty)
	if err != nil {
		fmt.Println(err)
		return 97
	}
	signal.Ignore(unix.SIGTTOU) // as shells do; not before the job was started, because the job would inherit it
	for script := bufio.NewScanner(os.Stdin); script.Scan(); {
		line := script.Text()
		switch line {
		case "fg":
			err = unix.IoctlSetPointerInt(ttyFd, unix.TIOCSPGRP, job.Process.Pid)
		case "bg":
			err = unix.IoctlSetPointerInt(ttyFd, unix.TIOCSPGRP, unix.Getpgrp())
		case "stty ixon":
			stty := exec.CommandContext(context.Background(), "stty", "ixon")
			stty.Stdin = tty
			err = stty.Run()
		case "modes":
			now, _ := term.GetState(ttyFd)
			fmt.Println("modes unchanged:", *now == *before)
		case "save modes":
			before, err = term.GetState(ttyFd)
		default:
			_, err = fmt.Fprintln(commands, line)
			if err == nil && results.Scan() {
				fmt.Printf("%s: %s\n", line, results.Text())
			}
		}
		if err != nil {
			fmt.Println(line, err)
		}
	}
	_ = commands.Close()
	fmt.Println("job:", job.Wait())
	return 0
}

func startJob(tty *os.File) (job *exec.Cmd, commands io.WriteCloser, results *bufio.Scanner, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	job = exec.CommandContext(context.Background(), self)
	job.Env = append(os.Environ(), roleVariable+"=job")
	job.ExtraFiles = []*os.File{tty}
	job.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if commands, err = job.StdinPipe(); err != nil {
		return nil, nil, nil, err
	}
	out, err := job.StdoutPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	return job, commands, bufio.NewScanner(out), job.Start()
}

func TestJobControl(t *testing.T) {
	tests := []struct {
		name   string
		script []string
		want   []string
	}{
		{
			"Raw in the background does not save the modes of another job",
			[]string{"raw", "modes", "fg", "raw", "restore", "modes"},
			[]string{
				"raw: " + errBackground.Error(), "modes unchanged: true",
				"raw: <nil>", "restore: <nil>", "modes unchanged: true",
			},
		},
		{
			"restore in the background undoes raw mode and does not stop the process",
			[]string{"fg", "raw", "bg", "modes", "restore", "modes"},
			[]string{"raw: <nil>", "modes unchanged: false", "restore: <nil>", "modes unchanged: true"},
		},
		{
			"restore in the background keeps the modes of the foreground job",
			[]string{"fg", "raw", "bg", "stty ixon", "save modes", "restore", "modes"},
			[]string{"raw: <nil>", "restore: <nil>", "modes unchanged: true"},
		},
		{
			"Read in the background returns the cause",
			[]string{"read"},
			[]string{"read: " + errBackground.Error()},
		},
		{
			"AwaitEOF in the background does not read",
			[]string{"await EOF"},
			[]string{"await EOF: <nil>"},
		},
		{
			"AwaitEnter in the background does not read",
			[]string{"await Enter"},
			[]string{"await Enter: <nil>"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := runScript(t, tt.script)
			want := strings.Join(append(tt.want, "job: <nil>"), "\n") + "\n"
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// runScript runs the shell on a new terminal, on which a line was typed.
func runScript(t *testing.T, script []string) string {
	t.Helper()
	user, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = tty.Close(), user.Close() }()
	typeKeys(t, user, "typed\n")

	cmd := command(t, "shell")
	cmd.Stdin = strings.NewReader(strings.Join(script, "\n") + "\n")
	cmd.ExtraFiles = []*os.File{tty}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: ttyFd}
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("the shell failed: %v", err)
	}
	return string(out)
}
