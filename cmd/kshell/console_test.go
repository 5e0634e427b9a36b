//go:build unix

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"

	"kshell/internal/sandbox"
)

// startSandbox runs a sandbox for a test that runs kshell in a separate
// process. It has two pods of one container: web, and noshell, which has no
// shell.
func startSandbox(t *testing.T) *sandbox.Server {
	t.Helper()
	skipShort(t)
	return sandboxInProcess(t)
}

// sandboxInProcess is startSandbox for a test that calls kshell's functions in
// its own process, and is therefore also run with the race detector.
func sandboxInProcess(t *testing.T) *sandbox.Server {
	t.Helper()
	s := runSandbox(t, sandbox.Config{Empty: true})
	for name, image := range map[string]string{"web": "", "noshell": sandbox.NoShellImage} {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: name, Image: image}}}}
		p.Name = name
		if err := s.AddPod(p); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// runSandbox runs a sandbox as configured.
func runSandbox(t *testing.T, cfg sandbox.Config) *sandbox.Server {
	t.Helper()
	cfg.Dir, cfg.Gentle = t.TempDir(), true
	s, err := sandbox.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// environment returns environment variables with a kubeconfig for s.
func environment(t *testing.T, s *sandbox.Server) []string {
	t.Helper()
	return append(os.Environ(),
		"KUBECONFIG="+s.Kubeconfig(), "HOME="+t.TempDir(), "TERM=vt220", "GORACE=atexit_sleep_ms=0")
}

// skipShort skips a test that runs kshell in a separate process. `make test`
// uses -short with the race detector, which does not see other processes.
func skipShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: kshell runs in a separate process")
	}
}

// program returns the path of kshell, which is the test binary by another name.
func program(t *testing.T) string {
	t.Helper()
	skipShort(t)
	path, err := exec.LookPath("kshell")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// console is a terminal in which a program runs. Its methods do what a user
// does: they type keys and read the output.
type console struct {
	t         *testing.T
	user, tty *os.File   // the two sides of the terminal
	before    term.State // the modes before the program began
	pid       int
	report    *os.File // the leader writes the pid and the exit code here

	mu      sync.Mutex
	text    []byte // all output
	changed chan struct{}
	seen    int // offset in text after the last match of waitFor
}

// termColumns and termRows are the size of a new terminal.
const termColumns, termRows = 80, 24

// leader is the shell from which the terminal's user starts the program. It
// leads the session, and continues after the program has ended, so that the
// test sees the modes that the program left: when a session leader exits, the
// kernel resets the terminal. It traps INT, because Ctrl-C is sent to the
// leader, too. Its stderr is discarded, so that it prints no message about a
// program that a signal has ended: the write would block while the output of
// the terminal is stopped.
const leader = `trap : INT; exec 5>&2 2>/dev/null
sh -c 'echo $$ >&3; exec "$@" 2>&5 3>&- 4<&- 5>&-' sh "$@"; echo $? >&3; read -r _ <&4`

// open starts a program in a new terminal.
func open(t *testing.T, s *sandbox.Server, path string, args ...string) *console {
	t.Helper()
	skipShort(t)
	user, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	c := &console{t: t, user: user, tty: tty, changed: make(chan struct{}, 1)}
	c.resize(termColumns, termRows)
	c.stty("erase", "^H", "-ixany", "-iutf8", "kill", "^Y") // modes that differ from the defaults
	c.before = c.modes()

	reportR, reportW := c.pipe()
	holdR, holdW := c.pipe()
	c.report = reportR
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", leader, "sh", path}, args...)...)
	cmd.Env = environment(t, s)
	cmd.Dir = t.TempDir()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.ExtraFiles = []*os.File{reportW, holdR}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = reportW.Close(), holdR.Close()

	var readers sync.WaitGroup
	readers.Go(c.watch)
	t.Cleanup(func() {
		_ = holdW.Close()
		if c.pid > 0 {
			_ = syscall.Kill(c.pid, syscall.SIGKILL)
		}
		_ = cmd.Wait()
		_ = tty.Close() // now no descriptor of tty is open, so watch gets an error and returns
		readers.Wait()
		_ = user.Close()
	})
	c.pid = c.number()
	return c
}

// pipe returns a pipe that is closed at the end of the test.
func (c *console) pipe() (r, w *os.File) {
	c.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

// stty changes the modes of the terminal.
func (c *console) stty(args ...string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "stty", args...)
	cmd.Stdin = c.tty
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("stty: %v: %s", err, out)
	}
}

// modes returns the modes of the terminal.
func (c *console) modes() term.State {
	c.t.Helper()
	state, err := term.GetState(int(c.tty.Fd()))
	if err != nil {
		c.t.Fatal(err)
	}
	return *state
}

// number returns the next number that the leader writes.
func (c *console) number() int {
	c.t.Helper()
	if err := c.report.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		c.t.Fatal(err)
	}
	var line []byte
	for b := []byte{0}; b[0] != '\n'; line = append(line, b...) {
		if _, err := c.report.Read(b); err != nil {
			c.t.Fatalf("the program has not ended: %v; output:\n%q", err, c.all())
		}
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(line)))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// watch reads the output of the terminal until the end.
func (c *console) watch() {
	for p := make([]byte, 32<<10); ; {
		n, err := c.user.Read(p)
		c.mu.Lock()
		c.text = append(c.text, p[:n]...)
		c.mu.Unlock()
		select {
		case c.changed <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// all returns the whole output.
func (c *console) all() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.text)
}

// waitFor waits until the expression matches output that follows the match of
// the previous waitFor.
func (c *console) waitFor(expression string) {
	c.t.Helper()
	wanted, late := regexp.MustCompile(expression), time.After(deadline)
	for {
		text := c.all()
		if at := wanted.FindIndex(text[c.seen:]); at != nil {
			c.seen += at[1]
			return
		}
		select {
		case <-c.changed:
		case <-late:
			c.t.Fatalf("no match of %q after %q, but %q", expression, text[:c.seen], text[c.seen:])
		}
	}
}

// prompt matches the prompt of a shell.
const prompt = `[$#] `

// prompt waits for a prompt.
func (c *console) prompt() {
	c.t.Helper()
	c.waitFor(prompt)
}

// keys types keys.
func (c *console) keys(typed string) {
	c.t.Helper()
	if _, err := c.user.WriteString(typed); err != nil {
		c.t.Fatal(err)
	}
}

// run types a command and waits for a match of the expression. The command is
// echoed, so the expression should not match it.
func (c *console) run(command, expression string) {
	c.t.Helper()
	c.keys(command + "\r")
	c.waitFor(expression)
}

// interrupt runs a command in the shell and types Ctrl-C, which must end only
// the command.
func (c *console) interrupt() {
	c.t.Helper()
	c.run("sh -c 'echo slee\"\"ping; exec sleep 1000'", "sleeping\r\n")
	c.keys("\x03")
	c.prompt()
	c.run("echo code=$?", "code=130\r\n")
	c.prompt()
}

func (c *console) resize(columns, rows uint16) {
	c.t.Helper()
	if err := pty.Setsize(c.user, &pty.Winsize{Cols: columns, Rows: rows}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *console) signal(s syscall.Signal) {
	c.t.Helper()
	if err := syscall.Kill(c.pid, s); err != nil {
		c.t.Fatal(err)
	}
}

// mustBeRaw checks that kshell has changed the modes of the terminal.
func (c *console) mustBeRaw() {
	c.t.Helper()
	if c.modes() == c.before {
		c.t.Error("the terminal is not raw")
	}
}

// waitModes waits until the terminal has certain modes.
func (c *console) waitModes(want term.State) {
	c.t.Helper()
	for end := time.Now().Add(deadline); c.modes() != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("the terminal's modes are %+v, want %+v", c.modes(), want)
		}
	}
}

// mustEnd waits for the end of the program, and checks the exit code and that
// the modes of the terminal are restored.
func (c *console) mustEnd(code int) {
	c.t.Helper()
	got := c.number()
	c.pid = 0
	if got != code {
		c.t.Errorf("exit code %d, want %d; the terminal:\n%s", got, code, c.all())
	}
	if now := c.modes(); now != c.before {
		c.t.Errorf("the terminal's modes are %+v, and were %+v", now, c.before)
	}
}

// lines returns the lines that the terminal shows, without empty lines.
func (c *console) lines() []string {
	screen := vt.NewEmulator(termColumns, termRows)
	var answers sync.WaitGroup
	answers.Go(func() { _, _ = io.Copy(io.Discard, screen) })
	_, _ = screen.Write(c.all())
	_ = screen.InputPipe().(io.Closer).Close() // screen.Close would race with Read
	answers.Wait()
	var lines []string
	for line := range strings.Lines(screen.String()) {
		if line = strings.TrimRight(line, " \r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// pathOf returns a path in a temporary directory.
func pathOf(t *testing.T, name string) string { return filepath.Join(t.TempDir(), name) }
