//go:build unix

package terminal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/term"
)

// testTimeout bounds how long a test waits for a condition.
const testTimeout = 30 * time.Second

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(runRole(role))
	}
	goleak.VerifyTestMain(m)
}

// openPty returns both ends of a new terminal of 80 by 24: the user's (keyboard
// and screen) and the program's.
func openPty(t *testing.T) (user, tty *os.File) {
	t.Helper()
	user, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = tty.Close()
		_ = user.Close()
	})
	setSize(t, user, Size{80, 24})
	return user, tty
}

func open(t *testing.T, in io.Reader, out io.Writer) *Terminal {
	t.Helper()
	terminal, err := Open(in, out, nil)
	if err != nil {
		t.Fatal(err)
	}
	return terminal
}

func raw(t *testing.T, terminal *Terminal) (restore func()) {
	t.Helper()
	restore, err := terminal.Raw()
	if err != nil {
		t.Fatal(err)
	}
	return restore
}

// modesOf returns the termios settings, which can be compared with ==.
func modesOf(t *testing.T, tty *os.File) term.State {
	t.Helper()
	state, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return *state
}

// within calls f and fails the test if f does not return in time.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("%s: not done after %v", what, testTimeout)
	}
}

func TestIsTerminal(t *testing.T) {
	user, tty := openPty(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()

	tests := []struct {
		name   string
		stream any
		want   bool
	}{
		{"terminal", tty, true},
		{"value with the descriptor of a terminal", struct{ *os.File }{tty}, true},
		{"other end of the terminal", user, true},
		{"/dev/null", null, false},
		{"closed file", closed, false},
		{"nil file", (*os.File)(nil), false},
		{"nil", nil, false},
		{"buffer", new(bytes.Buffer), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := IsTerminal(tt.stream); got != tt.want {
				t.Errorf("IsTerminal = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestOpen_InputIsNotATerminal(t *testing.T) {
	_, tty := openPty(t)
	if _, err := Open(strings.NewReader(""), tty, nil); !errors.Is(err, errNotTerminal) {
		t.Errorf("Open = %v, want errNotTerminal", err)
	}
}

func TestRaw_KeysAreUnchangedAndNotEchoed(t *testing.T) {
	user, tty := openPty(t)
	defer raw(t, open(t, tty, tty))()

	const keys = "\x03\x04\x11\x13\x1a\x1c\r\n\x16\x7f\x00\xff" // each has a meaning in a terminal that is not raw
	if _, err := user.WriteString(keys); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(keys))
	within(t, "read the keys", func() { _, _ = io.ReadFull(tty, got) })
	if diff := cmp.Diff(keys, string(got)); diff != "" {
		t.Errorf("keys (-typed +read):\n%s", diff)
	}

	const text = "a\nb\tc" // read below as the first output, which shows that no key was echoed
	if _, err := tty.WriteString(text); err != nil {
		t.Fatal(err)
	}
	screen := make([]byte, len(text))
	within(t, "read the screen", func() { _, _ = io.ReadFull(user, screen) })
	if diff := cmp.Diff(text, string(screen)); diff != "" {
		t.Errorf("screen (-written +shown):\n%s", diff)
	}
}

func TestRestore_Modes(t *testing.T) {
	tests := []struct {
		name string
		use  func(t *testing.T, terminal *Terminal)
	}{
		{"once", func(t *testing.T, terminal *Terminal) {
			raw(t, terminal)()
		}},
		{"twice", func(t *testing.T, terminal *Terminal) {
			restore := raw(t, terminal)
			restore()
			restore()
		}},
		{"raw while raw, first restore", func(t *testing.T, terminal *Terminal) {
			restore := raw(t, terminal)
			raw(t, terminal)
			restore()
		}},
		{"raw while raw, second restore", func(t *testing.T, terminal *Terminal) {
			raw(t, terminal)
			raw(t, terminal)()
		}},
		{"suspended and resumed, first restore", func(t *testing.T, terminal *Terminal) {
			restore := raw(t, terminal)
			restore()
			raw(t, terminal)
			restore()
		}},
		{"many goroutines", func(t *testing.T, terminal *Terminal) {
			restore := raw(t, terminal)
			done := make(chan struct{})
			for range 8 {
				go func() { restore(); done <- struct{}{} }()
			}
			for range 8 {
				<-done
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, tty := openPty(t)
			before := modesOf(t, tty)
			terminal := open(t, tty, tty)
			tt.use(t, terminal)
			if modesOf(t, tty) != before {
				t.Error("the modes after restore are not those before Raw")
			}
		})
	}
}

func TestRestore_ModesChangedBetweenTwoRaws(t *testing.T) {
	_, tty := openPty(t)
	terminal := open(t, tty, tty)
	original := modesOf(t, tty)
	raw(t, terminal)()

	if _, err := term.MakeRaw(int(tty.Fd())); err != nil { // as stty does
		t.Fatal(err)
	}
	chosen := modesOf(t, tty)
	if chosen == original {
		t.Fatal("the modes have not changed")
	}
	raw(t, terminal)()
	if modesOf(t, tty) != chosen {
		t.Error("the modes after the second restore are not those before the second Raw")
	}
}

func TestRaw_AgainAfterModesWereChanged(t *testing.T) {
	_, tty := openPty(t)
	terminal := open(t, tty, tty)
	original := modesOf(t, tty)
	restore := raw(t, terminal)
	rawModes := modesOf(t, tty)

	if err := term.Restore(int(tty.Fd()), &original); err != nil { // as the shell does after SIGSTOP
		t.Fatal(err)
	}
	raw(t, terminal)
	if modesOf(t, tty) != rawModes {
		t.Error("the terminal is not in raw mode after the second Raw")
	}
	restore()
	if modesOf(t, tty) != original {
		t.Error("the modes after restore are not those before Raw")
	}
}

func TestRestore_DoesNotWaitForRead(t *testing.T) {
	_, tty := openPty(t)
	before := modesOf(t, tty)
	restore := raw(t, open(t, tty, tty))
	in := openInput(t, tty)
	result := startRead(in)
	waitForRead(t, in)

	within(t, "restore during a blocked Read", restore)
	if modesOf(t, tty) != before {
		t.Error("the modes after restore are not those before Raw")
	}
	mustCancel(t, in)
	if got := (<-result); !errors.Is(got.err, errCanceled) {
		t.Errorf("Read = %q, %v; want errCanceled", got.text, got.err)
	}
}

func TestRestore_DoesNotWaitForOutput(t *testing.T) {
	user, tty := openPty(t)
	before := modesOf(t, tty)
	restore := raw(t, open(t, tty, tty))

	// Nothing reads the terminal's output, as after Ctrl-S, so a large Write
	// blocks.
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = tty.Write(make([]byte, 1<<20))
	}()
	within(t, "restore during a blocked Write", restore)
	if modesOf(t, tty) != before {
		t.Error("the modes after restore are not those before Raw")
	}
	go func() { _, _ = io.CopyN(io.Discard, user, 1<<20) }()
	within(t, "end the Write", func() { <-written })
}

func TestRestoreOnPanic(t *testing.T) {
	_, tty := openPty(t)
	before := modesOf(t, tty)
	terminal := open(t, tty, tty)
	var inOnPanic term.State
	terminal.onPanic = func(any) { inOnPanic = modesOf(t, tty) }
	raw(t, terminal)

	var atPanic term.State
	cause := func() (cause any) {
		defer func() {
			atPanic = modesOf(t, tty)
			cause = recover()
		}()
		defer terminal.RestoreOnPanic()
		panic("boom")
	}()
	if cause != "boom" {
		t.Errorf("RestoreOnPanic panicked with %v, want boom", cause)
	}
	if atPanic != before {
		t.Error("the terminal was not restored before the second panic")
	}
	if inOnPanic != before {
		t.Error("onPanic was not called, or was called before the terminal was restored")
	}
}

func TestRestoreOnPanic_NoPanic(t *testing.T) {
	_, tty := openPty(t)
	terminal := open(t, tty, tty)
	defer raw(t, terminal)()
	rawModes := modesOf(t, tty)
	func() { defer terminal.RestoreOnPanic() }()
	if modesOf(t, tty) != rawModes {
		t.Error("the terminal is not in raw mode")
	}
}
