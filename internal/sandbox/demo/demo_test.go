//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// If the environment variable demoVariable is set, the test binary runs the
// demo and not the tests.
const demoVariable = "KSHELL_DEMO_TEST"

// suspendVariable is an environment variable. If it is set, stub suspends
// itself.
const suspendVariable = "DEMO_TEST_SUSPEND"

// testTimeout is the time limit of everything that a test waits for.
const testTimeout = 60 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(demoVariable) != "" {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// stub replaces kshell: it prints its arguments, and then runs a shell with its
// own prompt. If suspendVariable is set, stub suspends its process group
// instead, as kshell does after ~^Z, and exits with code 3 when it is
// continued.
const stub = `#!/bin/sh
echo "stub: $*"
if [ -n "$` + suspendVariable + `" ]; then
	kill -TSTP 0
	echo "stub: continued"
	exit 3
fi
test -r "$KUBECONFIG" && echo "stub: kubeconfig is readable"
test -r "$KSHELL_CONFIG" && echo "stub: settings are readable"
PS1='in-the-pod> ' exec sh -i
`

// screen is a demo on a pty.
type screen struct {
	t       *testing.T
	cmd     *exec.Cmd
	tty     *os.File
	tmp     string
	initial *term.State // the state of the terminal before the demo

	mu      sync.Mutex
	text    bytes.Buffer
	seen    int // the offset in text from which expect searches
	changed chan struct{}
	ended   chan struct{} // closed at the end of the output
}

func startDemo(t *testing.T, env ...string) *screen {
	t.Helper()
	tmp := t.TempDir()
	bin := filepath.Join(t.TempDir(), "it's kshell")
	syscall.ForkLock.RLock() // a process that is being started would hold the file open for writing ("text file busy")
	err := os.WriteFile(bin, []byte(stub), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, tmp: tmp, changed: make(chan struct{}, 1), ended: make(chan struct{})}
	s.cmd = exec.Command(os.Args[0], "--kshell", bin)
	s.cmd.Env = append(append(os.Environ(), demoVariable+"=1", "TMPDIR="+tmp), env...)
	tty, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	s.tty = tty
	if s.initial, err = term.GetState(int(tty.Fd())); err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 40, Cols: 200}); err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = s.cmd.Start()
	_ = slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	s.tty = interruptible(t, tty)
	go s.read()
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails if the demo has exited
		<-s.ended
		_ = s.tty.Close()
	})
	return s
}

// interruptible closes f, and returns a file with a duplicate of its descriptor.
// Close of that file ends reads from it.
func interruptible(t *testing.T, f *os.File) *os.File {
	t.Helper()
	defer func() { _ = f.Close() }() // the new descriptor stays open
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), f.Name())
}

func (s *screen) read() {
	defer close(s.ended)
	buf := make([]byte, 4096)
	for {
		n, err := s.tty.Read(buf)
		s.mu.Lock()
		s.text.Write(buf[:n])
		s.mu.Unlock()
		select {
		case s.changed <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// expect waits until the demo has printed want, after the text that the
// previous call of expect has found.
func (s *screen) expect(want string) {
	s.t.Helper()
	deadline := time.After(testTimeout)
	for {
		s.mu.Lock()
		i := strings.Index(s.text.String()[s.seen:], want)
		if i >= 0 {
			s.seen += i + len(want)
		}
		all := s.text.String()
		s.mu.Unlock()
		if i >= 0 {
			return
		}
		select {
		case <-s.changed:
		case <-deadline:
			s.t.Fatalf("%q was not printed; the screen: %s", want, all)
		}
	}
}

// state returns the state of the terminal.
func (s *screen) state() (state *term.State) {
	s.t.Helper()
	conn, err := s.tty.SyscallConn()
	if err == nil {
		err = errors.Join(conn.Control(func(fd uintptr) { state, err = term.GetState(int(fd)) }), err)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return state
}

func (s *screen) typeLine(line string) { s.t.Helper(); s.typeKeys(line + "\n") }

func (s *screen) typeKeys(keys string) {
	s.t.Helper()
	if _, err := s.tty.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// exitCode waits for the exit of the demo.
func (s *screen) exitCode() int {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.cmd.Process.Kill() })
	defer stop()
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if ctx.Err() != nil {
		s.t.Fatal("the demo did not end")
	}
	return s.cmd.ProcessState.ExitCode()
}

func (s *screen) checkCleanedUp() {
	s.t.Helper()
	left, err := filepath.Glob(filepath.Join(s.tmp, "*"))
	if err != nil || len(left) > 0 {
		s.t.Errorf("files are left: %v %v", left, err)
	}
	out, err := exec.Command("ps", "-Aww", "-o", "pid=,command=").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	if strings.Contains(string(out), s.tmp) {
		s.t.Errorf("a process of the demo still runs:\n%s", out)
	}
}

// noBash returns a PATH variable with sh but without bash.
func noBash(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"sh", "sleep", "cat", "test"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return "PATH=" + bin
}

func TestDemo_ExitCodeAndCleanup(t *testing.T) {
	for name, env := range map[string]func(*testing.T) string{
		"bash": func(*testing.T) string { return "X=" }, "sh": noBash,
	} {
		t.Run(name, func(t *testing.T) {
			s := startDemo(t, env(t))
			s.expect("are not isolated")
			s.expect("stub: exec -it deploy/web")
			s.expect("stub: kubeconfig is readable")
			s.expect("stub: settings are readable")
			s.expect("in-the-pod> ")
			s.typeLine("exit 3")
			s.expect("prints 3.")
			s.expect("kshell-demo$ ")
			s.typeLine("echo code=$?")
			s.expect("code=3\r\n")
			s.expect("kshell-demo$ ")
			s.typeLine("kshell exec web -- date")
			s.expect("stub: exec web -- date")
			s.expect("in-the-pod> ")
			s.typeLine("exit")
			s.expect("kshell-demo$ ")
			s.typeLine("exit 5")
			if code := s.exitCode(); code != 0 {
				t.Errorf("the demo's exit code is %d, want 0", code)
			}
			s.checkCleanedUp()
		})
	}
}

func TestDemo_Suspend(t *testing.T) {
	for name, env := range map[string]func(*testing.T) string{
		"bash": func(*testing.T) string { return "X=" }, "sh": noBash,
	} {
		t.Run(name, func(t *testing.T) {
			s := startDemo(t, env(t), suspendVariable+"=1")
			s.expect("stub: exec -it deploy/web")
			s.expect("kshell is suspended. To continue it: fg")
			s.expect("kshell-demo$ ")
			s.typeLine("fg")
			s.expect("stub: continued")
			s.expect("kshell-demo$ ")
			s.typeLine("echo code=$?")
			s.expect("code=3\r\n")
			s.typeLine("exit")
			if code := s.exitCode(); code != 0 {
				t.Errorf("the demo's exit code is %d, want 0", code)
			}
			s.checkCleanedUp()
		})
	}
}

func TestDemo_Signals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			s := startDemo(t)
			s.expect("in-the-pod> ")
			s.typeLine("stty -echo; echo don''e")
			s.expect("done")
			if err := s.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if code := s.exitCode(); code != 128+int(sig) {
				t.Errorf("exit code %d, want %d", code, 128+int(sig))
			}
			s.checkCleanedUp()
			after := s.state()
			if diff := cmp.Diff(s.initial, after, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
				t.Errorf("the terminal changed:\n%s", diff)
			}
		})
	}
}

// When the terminal is closed, the kernel sends SIGHUP to the demo, which is the
// session leader.
func TestDemo_TerminalClosed(t *testing.T) {
	s := startDemo(t)
	s.expect("in-the-pod> ")
	if err := s.tty.Close(); err != nil {
		t.Fatal(err)
	}
	if code := s.exitCode(); code != 128+int(syscall.SIGHUP) {
		t.Errorf("exit code %d", code)
	}
	s.checkCleanedUp()
}

func TestDemo_ControlD(t *testing.T) {
	s := startDemo(t)
	s.expect("in-the-pod> ")
	s.typeLine("exit")
	s.expect("kshell-demo$ ")
	s.typeKeys("\x04")
	if code := s.exitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.checkCleanedUp()
}

func TestDemo_KshellNotFound(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	var errOut bytes.Buffer
	if code := run([]string{"--kshell", filepath.Join(t.TempDir(), "none")}, slave, slave, &errOut); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if !strings.Contains(errOut.String(), "cannot run kshell") {
		t.Errorf("stderr %q", errOut.String())
	}
}

func TestDemo_WrongUsage(t *testing.T) {
	for _, args := range [][]string{
		nil,
		{"--kshell", "x", "y"},
		{"--kshell", "x", "--auto"},
		{"--kshell", "x", "--tour", "--pause", "1s"},
		{"--kshell", "x", "--tour", "--auto", "--pause", "-1s"},
		{"--unknown"},
	} {
		var errOut bytes.Buffer
		code := run(args, os.Stdin, os.Stdout, &errOut)
		if code != 2 || !strings.Contains(errOut.String(), "--kshell PATH") {
			t.Errorf("%q: exit code %d, text %q", args, code, errOut.String())
		}
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"one two\nthree\n\n", 80, "one two\nthree\n\n"},
		{"one two three", 7, "one two\nthree"},
		{"one two three\nfour", 8, "one two\nthree\nfour"},
		{"  one two", 5, "  one\ntwo"},
		{"  long-word x", 4, "  long-word\nx"},
		{"long-word", 4, "long-word"},
		{"a  b", 2, "a\nb"},
	} {
		if got := wrap(test.text, test.width); got != test.want {
			t.Errorf("wrap(%q, %d): %q, want %q", test.text, test.width, got, test.want)
		}
	}
}
