//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/outcome"
	"kshell/internal/sandbox"
	"kshell/test/contract"
)

func TestShell(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec", "web")
	c.prompt()
	c.mustBeRaw()
	c.run("echo one''two", "onetwo\r\n")
	c.prompt()
	c.run("tty && echo A$((1+1))B", "/dev/.*\r\nA2B\r\n")
	c.prompt()
	c.keys("exit 3\r")
	c.mustEnd(3)
}

func TestShell_CtrlC(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	c.interrupt()
	c.keys("\x04")
	c.mustEnd(0)
}

func TestShell_Resize(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	waitSize(t, s, 1, sandbox.Size{Width: termColumns, Height: termRows})
	c.run("stty size", "24 80\r\n")
	for _, size := range []sandbox.Size{{Width: 133, Height: 44}, {Width: 7, Height: 3}} {
		c.resize(size.Width, size.Height)
		waitSize(t, s, 1, size)
	}
	c.prompt()
	c.run("stty size", "3 7\r\n")
	c.keys("exit\r")
	c.mustEnd(0)
}

// waitSessions waits until want returns true for the sessions of the sandbox.
func waitSessions(t *testing.T, s *sandbox.Server, want func([]sandbox.Session) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := s.WaitSessions(ctx, want); err != nil {
		t.Fatalf("%v; sessions: %+v", err, s.Sessions())
	}
}

// waitStats waits until want returns true for the counters of the sandbox.
func waitStats(t *testing.T, s *sandbox.Server, want func(sandbox.Stats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := s.WaitStats(ctx, want); err != nil {
		t.Fatalf("%v; counters: %+v", err, s.Stats())
	}
}

// waitSize waits until the given number of shells have been opened, and the
// last of them has received a terminal size.
func waitSize(t *testing.T, s *sandbox.Server, shell int, size sandbox.Size) {
	t.Helper()
	waitSessions(t, s, func([]sandbox.Session) bool {
		shells := sessionsWithTTY(s)
		return len(shells) == shell && slices.Contains(shells[shell-1].Sizes, size)
	})
}

// goDown stops the server of a shell, and waits until kshell tries to
// reconnect.
func goDown(c *console, s *sandbox.Server) {
	s.Down()
	c.waitFor("(?s)connection lost: .*?trying again in [0-9]+ s")
}

// atLineStart returns an expression for a message at the beginning of a line.
// The sequence that removes a status line may precede the message. A panic is
// matched anywhere, because the runtime prints it wherever the cursor is.
func atLineStart(message string) string {
	if strings.HasPrefix(message, "panic: ") {
		return regexp.QuoteMeta(message)
	}
	return `(?m)(^|\x1b8)` + regexp.QuoteMeta(message)
}

func TestTerminal_Restored(t *testing.T) {
	t.Parallel()
	signal := func(by syscall.Signal) func(*console, *sandbox.Server) {
		return func(c *console, _ *sandbox.Server) { c.signal(by) }
	}
	keys := func(keys string) func(*console, *sandbox.Server) {
		return func(c *console, _ *sandbox.Server) { c.keys(keys) }
	}
	tests := []struct {
		name    string
		end     func(*console, *sandbox.Server)
		code    int
		panics  bool   // run the kshell that panics
		message string // the last message of kshell
	}{
		{"Ctrl-D", keys("\x04"), 0, false, ""},
		{"exit", keys("exit\r"), 0, false, ""},
		{"exit 3", keys("exit 3\r"), 3, false, ""},
		{"the remote shell is killed", keys("kill -9 $$\r"), 137, false, ""},
		{"INT", signal(syscall.SIGINT), 130, false, ""},
		{"TERM", signal(syscall.SIGTERM), 143, false, ""},
		{"HUP", signal(syscall.SIGHUP), 129, false, ""},
		{"QUIT", signal(syscall.SIGQUIT), 131, false, ""},
		{"a panic while stdin is read", keys("P"), 255, true, "panic: test: stdin"},
		{"a panic while the output is written", keys("echo panic-in-''stdout\r"), 255, true, "panic: test: stdout"},
		{
			"the server is down: Ctrl-D", func(c *console, s *sandbox.Server) { goDown(c, s); c.keys("\x04") },
			255, false, "kshell: session given up\r\n",
		},
		{
			"the server is down: Ctrl-C", func(c *console, s *sandbox.Server) { goDown(c, s); c.keys("\x03") },
			130, false, "",
		},
		{
			"the server is down: TERM", func(c *console, s *sandbox.Server) { goDown(c, s); c.signal(syscall.SIGTERM) },
			143, false, "",
		},
		{
			"the pod is deleted", func(c *console, s *sandbox.Server) {
				if err := s.DeletePod("default", "web", 0); err != nil {
					c.t.Error(err)
				}
			},
			137, false, "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			skipIfHUPIgnored(t)
			path := program(t)
			if tt.panics {
				path = panicking(t)
			}
			line := []string{path, "exec", "-it", "web", "--", "sh"}
			if tt.name == "the remote shell is killed" { // kshell waits for limits.Reason
				line = append([]string{"env", shortLimits + "=1"}, line...)
			}
			s := startSandbox(t)
			c := open(t, s, line[0], line[1:]...)
			c.prompt()
			c.mustBeRaw()
			tt.end(c, s)
			c.mustEnd(tt.code)
			if tt.message != "" {
				c.waitFor(atLineStart(tt.message))
			}
		})
	}
}

func TestShellReconnect_Enter(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	c.run("mine=old; echo ${mine}ish", "oldish\r\n")
	c.prompt()

	up := s.Down()
	c.waitFor(`(?s)kshell: warning: connection lost: [^\n]*\r\n.*? trying again in [0-9]+ s \(Enter: now, Ctrl-D: quit\) `)
	c.keys("lost on the way") // dropped: there is no connection
	c.keys("\r")
	c.waitFor(`kshell: warning: cannot connect to ` + regexp.QuoteMeta(s.URL()) + `: (?s).*?trying again in [0-9]+ s`)
	up()
	c.keys("\r")
	c.waitFor("kshell: connected again after [0-9]+ s: this is a new shell\r\n")
	c.prompt()
	c.run(`echo "[$mine]"`, `\[\]\r\n`)
	waitSize(t, s, 2, sandbox.Size{Width: termColumns, Height: termRows})
	c.run("stty size", "24 80\r\n")
	for _, line := range c.lines() {
		if at := strings.Index(line, "kshell: connected again"); at > 0 {
			t.Errorf("the message begins in column %d: %q", at, line)
		}
	}
	c.keys("exit 5\r")
	c.mustEnd(5)
	if shells := sessionsWithTTY(s); len(shells) != 2 {
		t.Fatalf("%d shells were opened, want 2", len(shells))
	}
	// kshell has ended the first shell.
	waitSessions(t, s, func([]sandbox.Session) bool { return sessionsWithTTY(s)[0].Exited })
}

func TestShellReconnect_WithoutKeys(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	up := s.Down()
	c.waitFor("trying again in [0-9]+ s")
	up()
	c.waitFor("connected again after [0-9]+ s: this is a new shell\r\n")
	c.prompt()
	c.keys("exit 6\r")
	c.mustEnd(6)
}

// An API server that translates WebSocket to SPDY accepts a connection even if
// the node is dead, and later reports success.
func TestShellReconnect_ShellDoesNotStart(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	s.Inject(sandbox.Fault{
		Do: sandbox.SaySuccess, When: sandbox.AfterSent, StartAfter: time.Minute, Kill: true, Times: 1,
	})
	s.Inject(sandbox.Fault{StartAfter: time.Minute, Times: 1})
	s.Restart()
	c.waitFor("kshell: warning: connection lost: the new connection delivered no output\r\n")
	c.keys("\r") // connects at once
	waitSessions(t, s, func([]sandbox.Session) bool { return len(sessionsWithTTY(s)) == 3 })
	c.keys("\x04")
	c.waitFor("kshell: session given up\r\n")
	c.mustEnd(outcome.ExitFailed)
	if strings.Contains(string(c.all()), "connected again") {
		t.Errorf("a new shell is reported: %q", c.all())
	}
}

// Without a status line, the reason for the loss is printed once, and the
// reason why kshell cannot connect is printed once.
func TestShellReconnect_NoStatusLine(t *testing.T) {
	t.Parallel()
	for name, kshell := range map[string][]string{
		"dumb":  {"env", "TERM=dumb", program(t), "exec"},
		"quiet": {program(t), "exec", "-q"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			c := open(t, s, kshell[0], append(kshell[1:], "-it", "web", "--", "sh")...)
			c.prompt()
			up := s.Down()
			const keys = ` \(Enter: now, Ctrl-D: quit\)\r\n`
			c.waitFor(`(?m)^kshell: warning: cannot connect to .*; trying again in [0-9]+ s` + keys)
			c.waitFor(`(?m)^kshell: warning: trying again in [0-9]+ s` + keys)
			c.keys("~i")
			c.waitFor(`connections lost: 1\r\n`) // not the number of attempts
			up()
			c.keys("\r")
			c.prompt()
			for message, want := range map[string]int{"connection lost": 1, "cannot connect": 1} {
				if got := strings.Count(string(c.all()), "kshell: warning: "+message); got != want {
					t.Errorf("%q is printed %d times, want %d: %q", message, got, want, c.all())
				}
			}
			c.keys("exit\r")
			c.mustEnd(0)
		})
	}
}

// If stderr is a file, messages have no escape sequences.
func TestShell_StderrIsFile(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	stderr := filepath.Join(t.TempDir(), "stderr")
	c := open(t, s, "sh", "-c", `exec "$0" exec -it web -- sh 2>"$1"`, program(t), stderr)
	c.prompt()
	s.Restart()
	c.prompt()
	c.keys("exit\r")
	c.mustEnd(0)
	text, err := os.ReadFile(stderr)
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`^((kshell|hint): [ -~]+\n)+$`)
	if !lines.Match(text) || !strings.Contains(string(text), "kshell: connected again after ") {
		t.Errorf("stderr %q", text)
	}
}

func TestShellReconnect_Unauthorized(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	s.Inject(faults["401"])
	up := s.Down()
	c.waitFor("trying again in [0-9]+ s")
	up()
	c.keys("\r")
	c.waitFor(`(?m)(^|\x1b8)kshell: the server refused \(401\): Unauthorized\r\n` +
		`hint: log in again, or try another --context or --user\r\n`)
	c.mustEnd(255)
}

func TestShell_Refused(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(faults["page"])
	c := open(t, s, program(t), "exec", "web")
	c.waitFor(`(?m)^kshell: the server answered with a web page \(502\), not as a Kubernetes API\r\nhint: .*\r\n`)
	c.mustEnd(255)
}

func TestExec_CtrlDWithoutTTY(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec", "-i", "web", "--", "sh", "-c", "echo ready; cat; echo bye")
	c.waitFor("ready\r\n")
	c.keys("hello\n")
	c.waitFor("hello\r\n.*hello\r\n") // echoed by the terminal, then printed by cat
	c.keys("\x04")
	c.waitFor("bye\r\n")
	c.mustEnd(0)
}

// command returns a command that runs kshell without a terminal.
func command(t *testing.T, s *sandbox.Server, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program(t), args...)
	cmd.Env = environment(t, s)
	return cmd
}

func TestExec_StdoutClosed(t *testing.T) {
	t.Parallel()
	cmd := command(t, startSandbox(t), "exec", "web", "--", "yes")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = out.Close()
	start := time.Now()
	_ = cmd.Wait()
	if line != "y\n" || err != nil {
		t.Errorf("read %q, %v", line, err)
	}
	if got := cmd.ProcessState.ExitCode(); got != 141 {
		t.Errorf("exit code %d, want 141", got)
	}
	if took := time.Since(start); took > deadline/2 {
		t.Errorf("exited after %v", took)
	}
	if stderr.Len() > 0 {
		t.Errorf("stderr %q", stderr.String())
	}
}

func TestExec_StdoutFull(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	cmd := command(t, startSandbox(t), "exec", "web", "--", "echo", "x")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = full, &stderr
	_ = cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != 255 {
		t.Errorf("exit code %d, want 255", got)
	}
	want := `^kshell: cannot write the output: .*no space left on device\n$`
	if !regexp.MustCompile(want).Match(stderr.Bytes()) {
		t.Errorf("stderr %q, want %s", stderr.String(), want)
	}
}

func TestExec_Signal(t *testing.T) {
	t.Parallel()
	skipIfHUPIgnored(t)
	s := startSandbox(t)
	for end, code := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130, syscall.SIGHUP: 129} {
		cmd := command(t, s, "exec", "web", "--", "sh", "-c", "echo up; sleep 1000")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "up\n" {
			t.Errorf("read %q, %v", line, err)
		}
		if err := cmd.Process.Signal(end); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		if got := contract.ExitCode(cmd.ProcessState); got != code || cmd.ProcessState.Exited() {
			t.Errorf("%v: %v, want an end by the signal", end, cmd.ProcessState)
		}
		if stderr.Len() > 0 {
			t.Errorf("%v: stderr %q", end, stderr.String())
		}
	}
}

func TestExec_SignalWhileServerIsSilent(t *testing.T) {
	t.Parallel()
	for what, path := range map[string]string{"the pod": "/pods/web", "the handshake": "/exec"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			s.Inject(sandbox.Fault{Path: path, Do: sandbox.Hang, When: sandbox.AtRequest})
			cmd := command(t, s, "exec", "web", "--", "ls")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			requests := map[string]int{"the pod": 1, "the handshake": 2}[what]
			for late := time.After(deadline); s.Stats().Requests < requests; {
				select {
				case <-late:
					t.Fatal("the server received no request")
				case <-time.After(10 * time.Millisecond):
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
			if got := contract.ExitCode(cmd.ProcessState); got != 143 {
				t.Errorf("exit code %d, want 143", got)
			}
			if stderr.Len() > 0 {
				t.Errorf("stderr %q", stderr.String())
			}
		})
	}
}

// skipIfHUPIgnored skips a test if the test binary ignores HUP, as with nohup:
// child processes inherit that.
func skipIfHUPIgnored(t *testing.T) {
	t.Helper()
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("HUP is ignored: nohup?")
	}
}

// When a terminal is closed, the kernel and possibly the local shell send HUP.
// The remote shell must end.
func TestShell_TerminalClosed(t *testing.T) {
	t.Parallel()
	skipIfHUPIgnored(t)
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	for syscall.Kill(c.pid, syscall.SIGHUP) == nil { // until the process does not exist
		time.Sleep(time.Millisecond)
	}
	c.mustEnd(outcome.ExitSignal + int(syscall.SIGHUP))
	waitSessions(t, s, func(all []sandbox.Session) bool {
		return !slices.ContainsFunc(all, func(x sandbox.Session) bool { return !x.Exited })
	})
}

func TestExec_Nohup(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	cmd := command(t, s, "exec", "-i", "web", "--", "sh", "-c", "echo up; read x; echo $x; sleep 1000")
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh"}, cmd.Args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); line != "up\n" {
		t.Fatalf("read %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Error(err)
	}
	if _, err := io.WriteString(stdin, "still here\n"); err != nil {
		t.Error(err)
	}
	if line, err := lines.ReadString('\n'); line != "still here\n" {
		t.Fatalf("read %q, %v after HUP", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if got := contract.ExitCode(cmd.ProcessState); got != 143 {
		t.Errorf("exit code %d, want 143 by TERM", got)
	}
}

// If only stdout is redirected, the remote command still has a tty.
func TestExec_TTYWithStdoutRedirected(t *testing.T) {
	t.Parallel()
	file := pathOf(t, "out")
	const script = `kshell exec -it web -- sh -c 'tty; read x; echo "<$x>"' >"$1"`
	c := open(t, startSandbox(t), "sh", "-c", script, "sh", file)
	waitFile(t, file, "/dev/")
	c.keys("typed\r")
	c.mustEnd(0)
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.ReplaceAll(string(got), "\r", ""), "\n")
	if diff := cmp.Diff([]string{"typed", "<typed>", ""}, lines[1:]); diff != "" {
		t.Errorf("output after the name of the tty (-want +got):\n%s", diff)
	}
}

// waitFile waits until a file contains text.
func waitFile(t *testing.T, path, text string) {
	t.Helper()
	for late := time.After(deadline); ; {
		if got, err := os.ReadFile(path); err == nil && strings.Contains(string(got), text) {
			return
		}
		select {
		case <-late:
			t.Fatalf("%q is not in %s", text, path)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestShell_ImageWithoutShell(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec", "noshell")
	c.waitFor("(?m)^kshell: the container has no shell\r\n")
	c.waitFor("(?m)^hint: type `kubectl debug -it -n default noshell --image=busybox --target=noshell -- sh`\r\n")
	c.mustEnd(outcome.ExitNotFound)
}

func TestShell_Environment(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec", "-it", "--env", "A=two words", "--workdir", "/", "web", "--", "sh")
	c.prompt()
	c.run(`echo "[$TERM|$A|$PWD]"`, regexp.QuoteMeta("["+"vt220|two words|/]")+"\r\n")
	c.keys("exit\r")
	c.mustEnd(0)
}

func TestShell_EndedBySignal(t *testing.T) {
	for _, by := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			c := open(t, s, program(t), "exec", "web")
			c.prompt()
			c.run("(sleep 1000; :) & echo start''ed; sleep 1001", "started\r\n")
			c.signal(by)
			c.mustEnd(outcome.ExitSignal + int(by))
			idle, stop := context.WithTimeout(t.Context(), deadline)
			defer stop()
			if err := s.WaitIdle(idle, "default", "web"); err != nil {
				t.Errorf("processes are left: %v", err)
			}
		})
	}
}

// If a policy rejects the script, kshell runs the shell without it.
func TestShell_ScriptRejectedByPolicy(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(sandbox.Fault{RefuseCommand: func(args []string) bool { return slices.Contains(args, "-c") }})
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	c.run("echo a''b", "ab\r\n")
	c.keys("exit 6\r")
	c.mustEnd(6)
}
