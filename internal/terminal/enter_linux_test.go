package terminal

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/creack/pty"
)

func TestAwaitEnter(t *testing.T) {
	for name, c := range map[string]struct {
		typed string
		limit time.Duration
		want  bool
	}{
		"Enter":            {"\n", time.Minute, true},
		"line":             {"ls\n", time.Minute, true},
		"Ctrl-D":           {"\x04", time.Minute, false},
		"part of a line":   {"ls", 10 * time.Millisecond, false},
		"nothing is typed": {"", 10 * time.Millisecond, false},
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
			if got := AwaitEnter(ctx, tty); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
