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
)

func TestAShellCanBeUsed(t *testing.T) {
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

func TestCtrlCIsTheRemotes(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	c.interrupt()
	c.keys("\x04")
	c.mustEnd(0)
}

func TestTheRemoteSizeFollowsTheWindow(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	awaitSize(t, s, 1, sandbox.Size{Width: columns0, Height: rows0})
	c.run("stty size", "24 80\r\n")
	for _, size := range []sandbox.Size{{Width: 133, Height: 44}, {Width: 7, Height: 3}} {
		c.resize(size.Width, size.Height)
		awaitSize(t, s, 1, size)
	}
	c.prompt()
	c.run("stty size", "3 7\r\n")
	c.keys("exit\r")
	c.mustEnd(0)
}

func awaitSessions(t *testing.T, s *sandbox.Server, want func([]sandbox.Session) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := s.WaitSessions(ctx, want); err != nil {
		t.Fatalf("waited in vain: %v; sessions: %+v", err, s.Sessions())
	}
}

// awaitSize waits until a shell, counted from 1, has been told a size.
func awaitSize(t *testing.T, s *sandbox.Server, shell int, size sandbox.Size) {
	t.Helper()
	awaitSessions(t, s, func([]sandbox.Session) bool {
		shells := sessionsWithTTY(s)
		return len(shells) == shell && slices.Contains(shells[shell-1].Sizes, size)
	})
}

// gone makes the server vanish for good under a shell.
func gone(c *console, s *sandbox.Server) {
	s.Down()
	c.await("(?s)connection lost: .*?trying again in [0-9]+ s")
}

// lineBegins matches words of ours: they begin a line, perhaps one from which a status has just been taken away. What the runtime says of a panic
// comes where the cursor happens to be.
func lineBegins(words string) string {
	if strings.HasPrefix(words, "panic: ") {
		return regexp.QuoteMeta(words)
	}
	return `(?m)(^|\x1b8)` + regexp.QuoteMeta(words)
}

func TestTheTerminalIsAsBeforeHoweverKshellEnds(t *testing.T) {
	t.Parallel()
	killed := func(by syscall.Signal) func(*console, *sandbox.Server) {
		return func(c *console, _ *sandbox.Server) { c.signal(by) }
	}
	typed := func(keys string) func(*console, *sandbox.Server) {
		return func(c *console, _ *sandbox.Server) { c.keys(keys) }
	}
	tests := []struct {
		name     string
		end      func(*console, *sandbox.Server)
		code     int
		panics   bool   // it is the build that does
		lastWord string // that it says
	}{
		{"Ctrl-D", typed("\x04"), 0, false, ""},
		{"exit", typed("exit\r"), 0, false, ""},
		{"exit 3", typed("exit 3\r"), 3, false, ""},
		{"the remote shell is killed", typed("kill -9 $$\r"), 137, false, ""},
		{"INT from outside", killed(syscall.SIGINT), 130, false, ""},
		{"TERM", killed(syscall.SIGTERM), 143, false, ""},
		{"HUP", killed(syscall.SIGHUP), 129, false, ""},
		{"QUIT", killed(syscall.SIGQUIT), 131, false, ""},
		{"a panic while stdin is read", typed("P"), 2, true, "panic: test: stdin"},
		{"a panic while the output is written", typed("echo panic-in-''stdout\r"), 2, true, "panic: test: stdout"},
		{
			"the server is gone: Ctrl-D", func(c *console, s *sandbox.Server) { gone(c, s); c.keys("\x04") },
			255, false, "kshell: session given up\r\n", // why was said
		},
		{
			"the server is gone: Ctrl-C", func(c *console, s *sandbox.Server) { gone(c, s); c.keys("\x03") },
			255, false, "kshell: session given up\r\n", // why was said
		},
		{
			"the server is gone: TERM", func(c *console, s *sandbox.Server) { gone(c, s); c.signal(syscall.SIGTERM) },
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
			mustHeedHUP(t)
			path := program(t)
			if tt.panics {
				path = panicking(t)
			}
			line := []string{path, "exec", "-it", "web", "--", "sh"}
			if tt.name == "the remote shell is killed" { // kshell waits for reasonAfter
				line = append([]string{"env", shortLimits + "=1"}, line...)
			}
			s := startSandbox(t)
			c := open(t, s, line[0], line[1:]...)
			c.prompt()
			c.mustBeRaw()
			tt.end(c, s)
			c.mustEnd(tt.code)
			if tt.lastWord != "" {
				c.await(lineBegins(tt.lastWord))
			}
		})
	}
}

func TestAShellIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	c.run("mine=old; echo ${mine}ish", "oldish\r\n")
	c.prompt()

	up := s.Down()
	c.await(`(?s)kshell: warning: connection lost: [^\n]*\r\n.*? trying again in [0-9]+ s \(Enter: now, Ctrl-D: quit\) `)
	c.keys("lost on the way") // there is nobody to take it
	c.keys("\r")
	c.await(`kshell: warning: cannot connect to ` + regexp.QuoteMeta(s.URL()) + `: (?s).*?trying again in [0-9]+ s`)
	up()
	c.keys("\r")
	c.await("kshell: connected again after [0-9]+ s: this is a new shell\r\n")
	c.prompt()
	c.run(`echo "[$mine]"`, `\[\]\r\n`)
	awaitSize(t, s, 2, sandbox.Size{Width: columns0, Height: rows0})
	c.run("stty size", "24 80\r\n")
	for _, line := range c.lines() {
		if at := strings.Index(line, "kshell: connected again"); at > 0 {
			t.Errorf("the words begin in column %d: %q", at, line)
		}
	}
	c.keys("exit 5\r")
	c.mustEnd(5)
	if shells := sessionsWithTTY(s); len(shells) != 2 {
		t.Fatalf("%d shells were opened, want 2", len(shells))
	}
	awaitSessions(t, s, func([]sandbox.Session) bool { return sessionsWithTTY(s)[0].Exited }) // nobody would ever sit at it again
}

func TestAShellIsTakenUpAgainByItself(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	up := s.Down()
	c.await("trying again in [0-9]+ s")
	up()
	c.await("connected again after [0-9]+ s: this is a new shell\r\n")
	c.prompt()
	c.keys("exit 6\r")
	c.mustEnd(6)
}

// An API server that translates the protocol opens a socket for a node that is dead, and then calls it a success.
func TestAShellThatHasNotBegunIsNotOneToType(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	s.Inject(sandbox.Fault{Do: sandbox.SaySuccess, When: sandbox.AfterSent, StartAfter: time.Minute, Kill: true, Times: 1})
	s.Inject(sandbox.Fault{StartAfter: time.Minute, Times: 1})
	s.Restart()
	c.await("kshell: warning: connection lost: the new connection brought no output\r\n")
	c.keys("\r") // at once
	awaitSessions(t, s, func([]sandbox.Session) bool { return len(sessionsWithTTY(s)) == 3 })
	c.keys("\x04")
	c.await("kshell: session given up\r\n")
	c.mustEnd(outcome.ExitFailed)
	if strings.Contains(string(c.all()), "connected again") {
		t.Errorf("a shell was announced: %q", c.all())
	}
}

// Where there is no line of status, too, it is said once why the shell is lost, and once what keeps it away.
func TestAPlainTerminalTellsOfALossOnce(t *testing.T) {
	t.Parallel()
	for name, kshell := range map[string][]string{"dumb": {"env", "TERM=dumb", program(t), "exec"}, "quiet": {program(t), "exec", "-q"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			c := open(t, s, kshell[0], append(kshell[1:], "-it", "web", "--", "sh")...)
			c.prompt()
			up := s.Down()
			const keys = ` \(Enter: now, Ctrl-D: quit\)\r\n`
			c.await(`(?m)^kshell: warning: cannot connect to .*; trying again in [0-9]+ s` + keys)
			c.await(`(?m)^kshell: warning: trying again in [0-9]+ s` + keys)
			c.keys("~i")
			c.await(`connections lost: 1\r\n`) // whatever the number of attempts
			up()
			c.keys("\r")
			c.prompt()
			for words, want := range map[string]int{"connection lost": 1, "cannot connect": 1} {
				if got := strings.Count(string(c.all()), "kshell: warning: "+words); got != want {
					t.Errorf("%q is said %d times, want %d: %q", words, got, want, c.all())
				}
			}
			c.keys("exit\r")
			c.mustEnd(0)
		})
	}
}

// Words that go into a file are lines of it, whatever the terminal shows.
func TestTheWordsOfASessionInAFile(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	said := filepath.Join(t.TempDir(), "said")
	c := open(t, s, "sh", "-c", `exec "$0" exec -it web -- sh 2>"$1"`, program(t), said)
	c.prompt()
	s.Restart()
	c.prompt()
	c.keys("exit\r")
	c.mustEnd(0)
	text, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`^(kshell: [ -~]+\n)+$`)
	if !lines.Match(text) || !strings.Contains(string(text), "kshell: connected again after ") {
		t.Errorf("the file holds %q", text)
	}
}

func TestAShellThatIsLostForGoodSaysWhy(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	s.Inject(faults["401"])
	up := s.Down()
	c.await("trying again in [0-9]+ s")
	up()
	c.keys("\r")
	c.await(`(?m)(^|\x1b8)kshell: the server refused \(401\): Unauthorized\r\nhint: log in again, or try another --context or --user\r\n`)
	c.mustEnd(255)
}

func TestARefusedShellLeavesTheTerminalAlone(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(faults["page"])
	c := open(t, s, program(t), "exec", "web")
	c.await(`(?m)^kshell: the server answered with a web page \(502\), not as a Kubernetes API\r\nhint: .*\r\n`)
	c.mustEnd(255)
}

func TestInputFromATerminalWithoutATTYEndsWithCtrlD(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec", "-i", "web", "--", "sh", "-c", "echo ready; cat; echo bye")
	c.await("ready\r\n")
	c.keys("hello\n")
	c.await("hello\r\n.*hello\r\n") // the terminal's echo, and cat's
	c.keys("\x04")
	c.await("bye\r\n")
	c.mustEnd(0)
}

// command is kshell without a terminal.
func command(t *testing.T, s *sandbox.Server, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program(t), args...)
	cmd.Env = environment(t, s)
	return cmd
}

func TestWhenNobodyReadsTheOutputKshellEndsInSilence(t *testing.T) {
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
		t.Errorf("it took %v", took)
	}
	if stderr.Len() > 0 {
		t.Errorf("said %q", stderr.String())
	}
}

func TestAFullDiskIsSaid(t *testing.T) {
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
	if want := `^kshell: cannot write the output: .*no space left on device\n$`; !regexp.MustCompile(want).Match(stderr.Bytes()) {
		t.Errorf("said %q, want %s", stderr.String(), want)
	}
}

func TestASignalEndsACommandInSilence(t *testing.T) {
	t.Parallel()
	mustHeedHUP(t)
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
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("%v: exit code %d, want %d", end, got, code)
		}
		if stderr.Len() > 0 {
			t.Errorf("%v: said %q", end, stderr.String())
		}
	}
}

func TestASignalEndsTheWaitForASilentServer(t *testing.T) {
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
			asked := map[string]int{"the pod": 1, "the handshake": 2}[what]
			for late := time.After(deadline); s.Stats().Requests < asked; {
				select {
				case <-late:
					t.Fatal("the server was not asked")
				case <-time.After(10 * time.Millisecond):
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != 143 {
				t.Errorf("exit code %d, want 143", got)
			}
			if stderr.Len() > 0 {
				t.Errorf("said %q", stderr.String())
			}
		})
	}
}

// mustHeedHUP skips a test for which the test binary must not be run by nohup: what is ignored stays so in every child.
func mustHeedHUP(t *testing.T) {
	t.Helper()
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("HUP is ignored: nohup?")
	}
}

// The shell over there ends with the terminal: its window was closed, which the kernel says, and a shell here says too.
func TestAClosedTerminalLeavesNoShellBehind(t *testing.T) {
	t.Parallel()
	mustHeedHUP(t)
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	for syscall.Kill(c.pid, syscall.SIGHUP) == nil { // until it is no more
		time.Sleep(time.Millisecond)
	}
	c.mustEnd(outcome.ExitSignal + int(syscall.SIGHUP))
	awaitSessions(t, s, func(all []sandbox.Session) bool {
		return !slices.ContainsFunc(all, func(x sandbox.Session) bool { return !x.Exited })
	})
}

func TestNohupIsHeeded(t *testing.T) {
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
	if got := cmd.ProcessState.ExitCode(); got != 143 {
		t.Errorf("exit code %d, want 143 by TERM", got)
	}
}

// A terminal's output can go to a file: the program on the far side still has a tty.
func TestOnlyTheInputHasToBeATerminal(t *testing.T) {
	t.Parallel()
	file := pathOf(t, "out")
	c := open(t, startSandbox(t), "sh", "-c", `kshell exec -it web -- sh -c 'tty; read x; echo "<$x>"' >"$1"`, "sh", file)
	awaitFile(t, file, "/dev/")
	c.keys("typed\r")
	c.mustEnd(0)
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.ReplaceAll(string(got), "\r", ""), "\n")
	if diff := cmp.Diff([]string{"typed", "<typed>", ""}, lines[1:]); diff != "" {
		t.Errorf("output behind the tty's name (-want +got):\n%s", diff)
	}
}

func awaitFile(t *testing.T, path, text string) {
	t.Helper()
	for late := time.After(deadline); ; {
		if got, err := os.ReadFile(path); err == nil && strings.Contains(string(got), text) {
			return
		}
		select {
		case <-late:
			t.Fatalf("waited in vain for %q in %s", text, path)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestAnImageWithoutAShellIsToldPlainly(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec", "noshell")
	c.await("(?m)^kshell: the container has no shell\r\n")
	c.await("(?m)^hint: kubectl debug -it -n default noshell --image=busybox --target=noshell -- sh\r\n")
	c.mustEnd(outcome.ExitNotFound)
}

func TestAShellKnowsThisTerminal(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec", "-it", "--env", "A=two words", "--workdir", "/", "web", "--", "sh")
	c.prompt()
	c.run(`echo "[$TERM|$A|$PWD]"`, regexp.QuoteMeta("["+"vt220|two words|/]")+"\r\n")
	c.keys("exit\r")
	c.mustEnd(0)
}

func TestNothingOfAShellIsLeftWhenKshellIsEnded(t *testing.T) {
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
				t.Errorf("left behind: %v", err)
			}
		})
	}
}

// As for a command without a tty: it is the script that is refused, not the shell.
func TestAPolicyAgainstScriptsLeavesTheShell(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(sandbox.Fault{RefuseCommand: func(args []string) bool { return slices.Contains(args, "-c") }})
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	c.run("echo a''b", "ab\r\n")
	c.keys("exit 6\r")
	c.mustEnd(6)
}
