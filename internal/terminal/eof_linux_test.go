package terminal

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/creack/pty"
)

func TestAwaitEOF(t *testing.T) {
	for name, c := range map[string]struct {
		typed string
		limit time.Duration
		want  bool
		left  string // what the next program reads
	}{
		"Ctrl-D":           {"\x04", time.Minute, true, ""},
		"line":             {"ls\n", time.Minute, false, "ls\n"},
		"line, Ctrl-D":     {"ls\n\x04", time.Minute, false, "ls\n"},
		"part of a line":   {"ls", 10 * time.Millisecond, false, "ls"},
		"nothing is typed": {"", 10 * time.Millisecond, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			user, tty, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _, _ = user.Close(), tty.Close() }()
			if _, err := io.WriteString(user, c.typed); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), c.limit)
			defer cancel()
			if got := AwaitEOF(ctx, tty); got != c.want {
				t.Errorf("got %v", got)
			}
			if got := readLine(t, user, tty); got != c.left {
				t.Errorf("the next program reads %q, want %q", got, c.left)
			}
		})
	}
}

// readLine types Ctrl-D and returns what one read of the terminal returns.
func readLine(t *testing.T, user, tty *os.File) string {
	t.Helper()
	if _, err := user.WriteString("\x04"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := tty.Read(buf)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// If another process reads the Ctrl-D first, AwaitEOF does not block in its own
// read: it ends with its context.
func TestAwaitEOF_ReadByAnother(t *testing.T) {
	const waiting = 8
	for range 20 {
		user, tty, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan bool, waiting)
		for range waiting {
			go func() { results <- AwaitEOF(ctx, tty) }()
		}
		typeKeys(t, user, "\x04")
		if !<-results {
			t.Error("the first result is false")
		}
		cancel()
		for range waiting - 1 {
			select {
			case got := <-results:
				if got {
					t.Error("one Ctrl-D was read twice")
				}
			case <-time.After(time.Minute):
				t.Fatal("AwaitEOF did not return after its context had ended")
			}
		}
		_, _ = user.Close(), tty.Close()
	}
}

func TestAwaitEOF_NoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	if AwaitEOF(t.Context(), r) {
		t.Error("got true")
	}
}
