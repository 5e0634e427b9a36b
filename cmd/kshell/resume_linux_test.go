package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kshell/internal/agentbin"
	"kshell/internal/outcome"
	"kshell/internal/sandbox"
)

// resumeArgs returns the first arguments of kshell for a session whose agent is in a
// new directory.
func resumeArgs(t *testing.T, flags ...string) []string {
	t.Helper()
	if agentbin.BuildID() == "" {
		t.Skip(`there are no agents: run "make agent"`)
	}
	return append([]string{"exec", "--resume=always", "--resume-dir", t.TempDir(), "--resume-timeout=2m"}, flags...)
}

// sameShell matches the message after a reconnect.
const sameShell = `kshell: connected again after [0-9]+ s: the same shell\r\n`

// A shell of the session agent survives lost connections, with its variables and
// its running program.
func TestResume_SameShell(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), resumeArgs(t, "-it", "web", "--", "sh")...)
	c.prompt()
	c.mustBeRaw()
	c.run("x=4''2; echo r''eady", "ready\r\n")
	for range 3 {
		c.prompt()
		s.Restart()
		c.waitFor(sameShell)
		c.run("echo value=$x", "value=42\r\n")
	}
	c.prompt()
	c.interrupt()
	c.keys("exit 4\r")
	c.mustEnd(4)
}

// Keys that are typed during an outage are sent after it, each of them once.
func TestResume_KeysKept(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), resumeArgs(t, "-it", "web", "--", "sh")...)
	c.prompt()
	c.keys("echo be''gun")
	c.waitFor("echo be''gun")
	up := s.Down()
	c.waitFor(`trying again in [0-9]+ s \(~R: now, ~d: leave it running, ~\.: end it\)`)
	c.keys("-and-en''ded\recho sec''ond\r")
	up()
	c.waitFor(sameShell)
	c.waitFor("begun-and-ended\r\n")
	c.waitFor("second\r\n")
	c.prompt()
	c.keys("exit 5\r")
	c.mustEnd(5)
	for _, word := range []string{"begun-and-ended", "second\r"} {
		if n := strings.Count(string(c.all()), word); n != 1 {
			t.Errorf("%q was written %d times", word, n)
		}
	}
}

// A full-screen program is not disturbed by a reconnect.
func TestResume_FullScreen(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), resumeArgs(t, "-it", "web", "--", "sh", "-c",
		`printf '\033[?1049hpro''gram'; read -r line; printf '\033[?1049l'; exit 3`)...)
	c.waitFor("program")
	before := len(c.all())
	s.Restart()
	waitSessions(t, s, func(all []sandbox.Session) bool { return len(all) >= 2 })
	c.keys("\r")
	c.waitFor(`\x1b\[\?1049l`)
	c.mustEnd(3)
	text := string(c.all()[before:])
	if strings.Count(text, "\x1b[?1049l") != 1 || strings.Contains(text, "\x1b[?1000l") {
		t.Errorf("the terminal got %q", text)
	}
}

// ~d leaves the shell running. --attach shows it again, with its variables. Each
// client is told about the other one. ~. ends the shell.
func TestResume_Attach(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	flags := resumeArgs(t)
	c := open(t, s, program(t), append(flags, "-it", "web", "--", "sh")...)
	c.prompt()
	c.run("x=4''2; echo r''eady", "ready\r\n")
	c.prompt()
	c.keys("\r")
	c.prompt()
	escape(c, 'i')
	c.waitFor(`kshell: session [0-9a-f]+\r\n`)
	c.waitFor(`connected to \S+ by \S+, round trip to the container [0-9.]+`)
	escape(c, 'd')
	c.waitFor(`kshell: detached: session [0-9a-f]+ continues\r\n`)
	c.waitFor("hint: `(?s:.*)--attach(?s:.*)` attaches to it\r\n")
	c.mustEnd(0)
	text := string(c.all())
	id := regexp.MustCompile(`detached: session ([0-9a-f]+) continues`).FindStringSubmatch(text)[1]

	attach := []string{"exec", "--attach", flags[2], flags[3], "web", id}
	first := open(t, s, program(t), attach...)
	first.keys("\r")
	first.prompt()
	first.run("echo value=$x", "value=42\r\n")
	first.prompt()
	second := open(t, s, "sh", slices.Concat([]string{"-c", `TERM=xterm exec "$0" "$@"`, program(t)}, attach)...)
	second.waitFor("kshell: 1 other client is attached\r\n")
	second.waitFor("the session was started with TERM=vt220: programs may be displayed incorrectly here\r\n")
	first.waitFor(`kshell: \S+ attached \(the name is not verified\)\r\n`)
	first.keys("echo bo''th\r")
	second.waitFor("both\r\n")
	second.prompt()
	second.keys("\r")
	second.prompt()
	escape(second, 'd')
	second.mustEnd(0)
	first.waitFor(`kshell: \S+ left \(the name is not verified\)\r\n`)
	first.keys("\r")
	first.prompt()
	escape(first, '.')
	first.mustEnd(outcome.ExitFailed)
	waitOnlyMain(t, s)
}

// escape types the escape character and a key.
func escape(c *console, key byte) {
	c.t.Helper()
	c.keys("~")
	time.Sleep(50 * time.Millisecond) // otherwise kshell may read both together with an earlier key, like a paste
	c.keys(string(key))
}

// waitOnlyMain waits until only the main process of the container web runs.
func waitOnlyMain(t *testing.T, s *sandbox.Server) {
	t.Helper()
	for end := time.Now().Add(deadline); len(s.Pids("default", "web", "web")) > 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("processes are left: %v", s.Processes("default", "web"))
		}
	}
}

// ~. ends the shell.
func TestResume_End(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), resumeArgs(t, "-it", "web", "--", "sh")...)
	c.prompt()
	c.keys("\r")
	c.prompt()
	escape(c, '.')
	c.mustEnd(outcome.ExitFailed)
	waitOnlyMain(t, s)
}

// Without a connection, ~. leaves a shell that cannot be ended, and ~d leaves it
// running.
func TestResume_LeaveWithoutConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key    byte
		code   int
		prints string
	}{
		"end":    {'.', outcome.ExitFailed, `kshell: warning: session [0-9a-f]+ could not be ended: cannot connect to \S+`},
		"detach": {'d', 0, `kshell: detached: session [0-9a-f]+ continues\r\n`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			term := open(t, s, program(t), resumeArgs(t, "-it", "web", "--", "sh")...)
			term.prompt()
			up := s.Down()
			term.waitFor("trying again in [0-9]+ s")
			escape(term, c.key)
			term.waitFor(c.prints)
			term.waitFor("--attach(?s:.*)` attaches to it\r\n")
			term.mustEnd(c.code)
			up()
			if n := len(s.Pids("default", "web", "web")); n < 3 { // the main process, the shell and the agent
				t.Errorf("%d processes", n)
			}
		})
	}
}

// The session of a terminal that is closed continues.
func TestResume_TerminalClosed(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), resumeArgs(t, "-it", "web", "--", "sh")...)
	c.prompt()
	before := len(s.Pids("default", "web", "web"))
	c.signal(syscall.SIGHUP)
	c.waitFor(`kshell: session [0-9a-f]+ continues\r\n`)
	c.mustEnd(128 + int(syscall.SIGHUP))
	if after := len(s.Pids("default", "web", "web")); after < before-1 { // the relay has ended
		t.Errorf("%d processes are left of %d", after, before)
	}
}

// A session ends with its container, and is never continued in another one.
func TestResume_PodDeleted(t *testing.T) {
	t.Parallel()
	s := runSandbox(t, sandbox.Config{})
	c := open(t, s, program(t), resumeArgs(t, "-it", "deploy/web", "--", "sh")...)
	c.prompt()
	before := podOf(t, s)
	if err := s.DeletePod("default", before, 0); err != nil {
		t.Fatal(err)
	}
	c.mustEnd(outcome.ExitFailed)
	c.waitFor(podDeleted(before) + `\r\n`)
	if text := string(c.all()); strings.Contains(text, "continuing in") {
		t.Errorf("the session continues in another pod: %q", text)
	}
}

func TestResume_ContainerRestarted(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), resumeArgs(t, "-it", "web", "--", "sh")...)
	c.prompt()
	up := s.Down()
	c.waitFor("trying again in [0-9]+ s")
	killMain(t, s)
	waitRestart(t, s)
	up()
	c.mustEnd(outcome.ExitFailed)
	c.waitFor(`container "web" of pod "web" ended with exit code 137.* and was restarted\r\n`)
}

// resumed runs kshell without a terminal, and returns its exit code, stdout and
// stderr. It calls during when the command has written "up" to stdout.
func resumed(
	t *testing.T, s *sandbox.Server, input []byte, during func(cmd *exec.Cmd), args ...string,
) (code int, out, errs string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	var stdout watchedBuffer
	var stderr bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = environment(t, s), t.TempDir(), &stdout, &stderr
	if input != nil {
		cmd.Stdin = bytes.NewReader(input)
	}
	stdout.seen = make(chan struct{})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stdout.seen:
		during(cmd)
	case <-time.After(deadline):
		t.Errorf("the command has not started")
		_ = cmd.Process.Kill()
	}
	_ = cmd.Wait()
	code = cmd.ProcessState.ExitCode()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	return code, stdout.buf.String(), uploadNote.ReplaceAllString(stderr.String(), "")
}

// uploadNote matches the note that kshell prints if the upload of the agent takes
// long, as on a busy machine.
var uploadNote = regexp.MustCompile(`(?m)^kshell: uploading the session agent .*\n`)

// watchedBuffer closes seen when something was written to it.
type watchedBuffer struct {
	buf    bytes.Buffer
	seen   chan struct{}
	closed bool
}

// Write implements io.Writer.
func (b *watchedBuffer) Write(p []byte) (int, error) {
	if !b.closed {
		b.closed = true
		close(b.seen)
	}
	return b.buf.Write(p)
}

// A command without a terminal has its exact output and exit code across lost
// connections, with all of its input. It is run once.
func TestResume_CommandAcrossCuts(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	input := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	ran := pathOf(t, "ran")
	script := fmt.Sprintf(`echo up; echo x >>%s; wc -c
		i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo $i; done; sleep 1; exit 7`, ran)
	code, out, errs := resumed(t, s, input, func(*exec.Cmd) {
		for range 5 {
			s.Restart()
			time.Sleep(200 * time.Millisecond) // somewhere in the command
		}
	}, resumeArgs(t, "-i", "web", "--", "sh", "-c", script)...)
	var want strings.Builder
	fmt.Fprintf(&want, "up\n%d\n", len(input))
	for i := range 2000 {
		fmt.Fprintln(&want, i+1)
	}
	if code != 7 || out != want.String() {
		t.Errorf("exit code %d, %d bytes of output, want 7 and %d; stderr:\n%s", code, len(out), want.Len(), errs)
	}
	if !strings.Contains(errs, ": the command continues\n") || strings.Contains(errs, "run again") {
		t.Errorf("stderr:\n%s", errs)
	}
	if runs, err := os.ReadFile(ran); err != nil || string(runs) != "x\n" {
		t.Errorf("the command was run: %q, %v", runs, err)
	}
}

// Signals and --timeout reach the command, and end kshell as in exact mode.
func TestResume_Signals(t *testing.T) {
	t.Parallel()
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	for name, signal := range signals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			file := pathOf(t, "signal")
			script := fmt.Sprintf(`exec 2>/dev/null; trap 'echo %[1]s >%[2]s; echo last; exit 3' %[1]s
				echo up; while :; do sleep 0.1; done`, name, file)
			code, out, errs := resumed(t, s, nil, func(cmd *exec.Cmd) { _ = cmd.Process.Signal(signal) },
				resumeArgs(t, "web", "--", "sh", "-c", script)...)
			if code != 128+int(signal) || out != "up\nlast\n" || errs != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != name+"\n" {
				t.Errorf("the command got %q, %v", got, err)
			}
			waitOnlyMain(t, s)
		})
	}
	t.Run("ignored", func(t *testing.T) {
		t.Parallel()
		s := startSandbox(t)
		code, _, errs := resumed(t, s, nil, func(cmd *exec.Cmd) { _ = cmd.Process.Signal(syscall.SIGTERM) },
			resumeArgs(t, "web", "--", "sh", "-c", `trap '' TERM HUP; echo up; while :; do sleep 0.1; done`)...)
		if code != 143 || errs != "" {
			t.Errorf("exit code %d, stderr %q", code, errs)
		}
		waitOnlyMain(t, s)
	})
	t.Run("timeout", func(t *testing.T) {
		t.Parallel()
		s := startSandbox(t)
		code, out, _ := resumed(t, s, nil, func(*exec.Cmd) {},
			resumeArgs(t, "--timeout=3s", "web", "--", "sh", "-c",
				`trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.1; done`)...)
		if code != outcome.ExitTimeout || out != "up\nterm\n" {
			t.Errorf("exit code %d, stdout %q", code, out)
		}
		waitOnlyMain(t, s)
	})
}

// On a terminal, too, a command is run without the agent if that is not possible.
func TestResume_TerminalNotPossible(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	args := resumeArgs(t, "-it", "noshell", "--", "cat")
	args[1] = "--resume=auto"
	c := open(t, s, program(t), args...)
	c.waitFor(`session agent cannot be used: the container has no sh\r\n`)
	waitSize(t, s, 2, sandbox.Size{Width: termColumns, Height: termRows}) // the first exec was that of kshell's script
	c.run("li''ne", "li''ne\r\n"+"li''ne\r\n")
	c.keys("\x04")
	c.mustEnd(0)
}

// A container that cannot run the agent runs the command without it, or not at
// all.
func TestResume_NotPossible(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	flags := resumeArgs(t)
	for mode, want := range map[string]struct {
		code int
		out  string
		errs string
	}{
		"auto": {
			0, "hello from a container without a shell\n", "kshell: a lost connection will end the session, " +
				"because the session agent cannot be used: the container has no sh\n",
		},
		"always": {
			outcome.ExitFailed, "", "kshell: --resume=always is not possible here: the container has no sh\n" +
				"hint: --resume=auto runs the command without the session agent if necessary\n",
		},
	} {
		flags[1] = "--resume=" + mode
		cmd := exec.CommandContext(t.Context(), program(t), append(flags, "noshell", "--", "hello")...)
		var stdout, stderr bytes.Buffer
		cmd.Env, cmd.Stdout, cmd.Stderr = environment(t, s), &stdout, &stderr
		_ = cmd.Run()
		code := cmd.ProcessState.ExitCode()
		if code != want.code || stdout.String() != want.out || stderr.String() != want.errs {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", mode, code, &stdout, &stderr)
		}
	}
}

// If each connection is lost before the agent runs, kshell does not report that the
// command may still be running.
func TestResume_LostBeforeStart(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(sandbox.Fault{Path: "/pods/web/exec", Upgrades: true, Do: sandbox.RST, When: sandbox.AfterSent, N: 3})
	args := resumeArgs(t, "--connect-timeout=1s", "web", "--", "true")
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	cmd.Env = environment(t, s)
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != outcome.ExitFailed ||
		!strings.Contains(string(out), "kshell: the connection broke before the command was started (connection lost: ") ||
		strings.Contains(string(out), "may still be running") {
		t.Errorf("%v: %s", cmd.ProcessState, out)
	}
}

// Without reconnects, the command continues in its session, and kshell names the
// command line that attaches to it.
func TestResume_Lost(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	status := pathOf(t, "status")
	code, out, errs := resumed(t, s, nil, func(*exec.Cmd) { s.Restart() }, resumeArgs(t, "--reconnect=never",
		"--status-file", status, "web", "--", "sh", "-c", "echo up; exec sleep 1000")...)
	lost := regexp.MustCompile("^kshell: connection lost: .*; the command continues in session ([0-9a-f]+)\n" +
		"hint: `kshell exec --attach .*web ([0-9a-f]+)` attaches to it\n$").FindStringSubmatch(errs)
	if code != outcome.ExitFailed || out != "up\n" || lost == nil || lost[1] != lost[2] {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	var record struct {
		Cause         outcome.Cause
		Mode, Session string
	}
	text, err := os.ReadFile(status)
	if err == nil {
		err = json.Unmarshal(text, &record)
	}
	if err != nil || record.Cause != outcome.Lost || record.Mode != "resume" || record.Session != lost[1] {
		t.Errorf("status record %s, %v", text, err)
	}
	if n := len(s.Pids("default", "web", "web")); n < 3 { // the main process, the command and the agent
		t.Errorf("%d processes", n)
	}
}

// While the node cannot be reached, the API server refuses each exec. kshell gives up
// after --reconnect-timeout. When the node can be reached again, --attach shows the
// rest of the output, and the exit code.
func TestResume_DeadNode(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	file := pathOf(t, "file")
	args := resumeArgs(t, "--reconnect-timeout=2s", "web", "--", "sh", "-c",
		`echo up; while [ ! -e "$0" ]; do sleep 0.1; done; echo done; exit 6`, file)
	var revive func()
	code, out, errs := resumed(t, s, nil, func(*exec.Cmd) {
		revive = s.Inject(sandbox.Fault{
			Path: "/pods/web/exec", Code: http.StatusInternalServerError,
			Body: "error dialing backend: dial tcp 10.0.0.7:10250: connect: no route to host",
		})
		s.Restart()
	}, args...)
	lost := regexp.MustCompile("(?m)^kshell: .*no route to host.*; the command continues in session ([0-9a-f]+)\n" +
		"(?:hint: .*\n)*hint: `kshell exec --attach .*web ([0-9a-f]+)` attaches to it$").FindStringSubmatch(errs)
	if code != outcome.ExitFailed || out != "up\n" || lost == nil || lost[1] != lost[2] {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	revive()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs = resumed(t, s, nil, func(*exec.Cmd) {}, "exec", "--attach", args[2], args[3], "web", lost[1])
	if code != 6 || strings.TrimPrefix(out, "up\n") != "done\n" { // "up" may not have been acknowledged
		t.Errorf("--attach: exit code %d, stdout %q, stderr %q", code, out, errs)
	}
}

// --detach prints the ID of the session, also if the first attempt to start it
// was refused.
func TestResume_DetachAfterRefusal(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(sandbox.Fault{Path: "/pods/web/exec", Code: http.StatusServiceUnavailable, Times: 2})
	start := resumeArgs(t, "--detach", "web", "--", "sleep", "1000")
	code, out, errs := resumed(t, s, nil, func(*exec.Cmd) {}, start...)
	id := strings.TrimSpace(out)
	if code != 0 || !strings.Contains(errs, "session "+id+" was started") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	end := exec.CommandContext(t.Context(), program(t), "sessions", start[2], start[3], "web", "--end", id)
	end.Env = environment(t, s)
	if out, err := end.CombinedOutput(); err != nil {
		t.Errorf("--end: %q, %v", out, err)
	}
	waitOnlyMain(t, s)
}

// Other clients show the output of a command that was started with --detach, and
// its exit code. Output that a client has acknowledged is not shown again. SIGINT
// ends only the client.
func TestResume_AttachToCommand(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	file := pathOf(t, "continue")
	start := resumeArgs(t, "--detach", "web", "--", "sh", "-c",
		"echo up; until [ -e "+file+" ]; do sleep 0.1; done; echo last; exit 7")
	code, out, errs := resumed(t, s, nil, func(*exec.Cmd) {}, start...)
	id := strings.TrimSpace(out)
	if code != 0 || !strings.Contains(errs, "web "+id+"` attaches to it\n") {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	attach := []string{"exec", "--attach", start[2], start[3], "web", id}
	interrupt := func(cmd *exec.Cmd) { _ = cmd.Process.Signal(syscall.SIGINT) }
	code, out, errs = resumed(t, s, nil, interrupt, attach...)
	if code != 130 || out != "up\n" || !strings.HasPrefix(errs, "kshell: session "+id+" continues\n") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs = resumed(t, s, nil, func(*exec.Cmd) {}, attach...)
	if code != 7 || strings.TrimPrefix(out, "up\n") != "last\n" || errs != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	waitOnlyMain(t, s)
}

// With --keep, a command continues after --timeout.
func TestResume_KeepAfterTimeout(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	file := pathOf(t, "continue")
	start := resumeArgs(t, "--keep", "--timeout=3s", "web", "--", "sh", "-c",
		"echo up; until [ -e "+file+" ]; do sleep 0.1; done; exit 7")
	code, _, errs := resumed(t, s, nil, func(*exec.Cmd) {}, start...)
	id := regexp.MustCompile(`kshell: session ([0-9a-f]+) continues\n`).FindStringSubmatch(errs)
	if code != outcome.ExitTimeout || id == nil {
		t.Fatalf("exit code %d, stderr %q", code, errs)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	attach := exec.CommandContext(t.Context(), program(t), "exec", "--attach", start[2], start[3], "web", id[1])
	attach.Env = environment(t, s)
	if out, err := attach.CombinedOutput(); attach.ProcessState.ExitCode() != 7 {
		t.Errorf("--attach: %q, %v", out, err)
	}
	waitOnlyMain(t, s)
}

// When kshell gives up to connect again, it names the command line that attaches.
func TestResume_GaveUp(t *testing.T) {
	t.Parallel()
	const attaches = "hint: `kshell exec --attach (?s:.*)` attaches to it\r?\n"
	s := startSandbox(t)
	c := open(t, s, program(t), resumeArgs(t, "--reconnect-timeout=1s", "-it", "web", "--", "sh")...)
	c.prompt()
	up := s.Down()
	c.waitFor(`kshell: session given up; the command continues in session [0-9a-f]+\r\n`)
	c.waitFor(attaches)
	c.mustEnd(outcome.ExitFailed)
	up()

	s = startSandbox(t)
	code, _, errs := resumed(t, s, nil, func(*exec.Cmd) { s.Down() },
		resumeArgs(t, "--reconnect-timeout=1s", "web", "--", "sh", "-c", "echo up; exec sleep 1000")...)
	want := regexp.MustCompile(`kshell: (cannot connect to|connection lost:) .*; ` +
		`the command continues in session [0-9a-f]+\n` + attaches + "$")
	if code != outcome.ExitFailed || !want.MatchString(errs) {
		t.Errorf("exit code %d, stderr %q", code, errs)
	}
}

// kshell reads no more output than its own reader, and ends the command when the
// reader has gone.
func TestResume_ReaderGone(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	args := append([]string{"-c", `"$@" | head -n 1`, "sh", program(t)}, resumeArgs(t, "web", "--", "yes")...)
	cmd := exec.CommandContext(t.Context(), "sh", args...)
	cmd.Env = environment(t, s)
	out, err := cmd.CombinedOutput()
	if text := uploadNote.ReplaceAllString(string(out), ""); err != nil || text != "y\n" {
		t.Errorf("%q, %v", out, err)
	}
	waitOnlyMain(t, s)
}
