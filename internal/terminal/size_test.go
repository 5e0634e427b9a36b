//go:build unix

package terminal

import (
	"os"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

func setSize(t *testing.T, user *os.File, size Size) {
	t.Helper()
	if err := pty.Setsize(user, &pty.Winsize{Cols: size.Width, Rows: size.Height}); err != nil {
		t.Fatal(err)
	}
}

// resize sets the size and then sends SIGWINCH, as a terminal emulator does.
func resize(t *testing.T, user *os.File, size Size) {
	t.Helper()
	setSize(t, user, size)
	if err := unix.Kill(unix.Getpid(), unix.SIGWINCH); err != nil {
		t.Fatal(err)
	}
}

func mustSize(t *testing.T, terminal *Terminal) Size {
	t.Helper()
	size, err := terminal.Size()
	if err != nil {
		t.Fatal(err)
	}
	return size
}

func waitForChange(t *testing.T, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(testTimeout):
		t.Fatal("no notification of the new size")
	}
}

func TestSize_OutputFirst(t *testing.T) {
	inUser, in := openPty(t)
	outUser, out := openPty(t)
	setSize(t, inUser, Size{80, 24})
	setSize(t, outUser, Size{133, 44})
	pipe, pipeEnd, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = pipe.Close(), pipeEnd.Close() }()

	tests := []struct {
		name string
		out  *os.File
		want Size
	}{
		{"output is a terminal", out, Size{133, 44}},
		{"output is a pipe", pipeEnd, Size{80, 24}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustSize(t, open(t, in, tt.out)); got != tt.want {
				t.Errorf("Size = %v, want %v", got, tt.want)
			}
		})
	}

	t.Run("output has no size", func(t *testing.T) {
		setSize(t, outUser, Size{0, 0})
		if got, want := mustSize(t, open(t, in, out)), (Size{80, 24}); got != want {
			t.Errorf("Size = %v, want %v", got, want)
		}
	})
}

func TestSize_NotSet(t *testing.T) {
	user, tty := openPty(t)
	terminal := open(t, tty, tty)
	for _, size := range []Size{{0, 0}, {0, 24}, {80, 0}} {
		setSize(t, user, size)
		if got, err := terminal.Size(); err == nil {
			t.Errorf("Size = %v of a terminal of %v, want an error", got, size)
		}
	}
}

func TestResized_LastSize(t *testing.T) {
	user, tty := openPty(t)
	terminal := open(t, tty, tty)
	changed, stop := terminal.Resized()
	defer stop()

	for round := range uint16(20) {
		last := Size{200 + round, 50}
		resized := make(chan struct{})
		go func() {
			defer close(resized)
			for width := range uint16(50) {
				resize(t, user, Size{width + 1, 50})
			}
			resize(t, user, last)
		}()
		// Like a caller, wait for a notification and then get the size. If the
		// last notification were lost, the loop would not end.
		for mustSize(t, terminal) != last {
			waitForChange(t, changed)
		}
		<-resized
	}
}

func TestResized_BuffersOneNotification(t *testing.T) {
	user, tty := openPty(t)
	terminal := open(t, tty, tty)
	changed, stop := terminal.Resized()
	other, stopOther := terminal.Resized()
	defer stopOther()

	for width := range uint16(100) {
		resize(t, user, Size{width + 1, 50})
		waitForChange(t, other) // so that each SIGWINCH is delivered before the next one
	}
	stop()
	if waiting := len(changed); waiting > 1 {
		t.Errorf("%d notifications are buffered, want at most 1", waiting)
	}
}

func TestResized_Stop(t *testing.T) {
	user, tty := openPty(t)
	terminal := open(t, tty, tty)
	changed, stop := terminal.Resized()
	resize(t, user, Size{90, 30})
	waitForChange(t, changed)
	stop()
	stop()

	// A second channel shows when SIGWINCH has been delivered.
	other, stopOther := terminal.Resized()
	defer stopOther()
	for len(changed) > 0 {
		<-changed
	}
	resize(t, user, Size{91, 30})
	waitForChange(t, other)
	select {
	case _, open := <-changed:
		t.Errorf("a notification after stop (open: %v)", open)
	default:
	}
}
