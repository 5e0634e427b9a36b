package notice

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lockedBuilder is a strings.Builder for several goroutines.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was written since the last call of take.
func (l *lockedBuilder) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

func TestProgressAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b lockedBuilder
		p := New(&b)
		p.SetTerminal(columns(80))
		check := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := b.take(); got != want {
				t.Errorf("printed %q, want %q", got, want)
			}
		}
		d := p.ProgressAfter(time.Second, "first")
		time.Sleep(900 * time.Millisecond)
		d.Update("second")
		check("")
		time.Sleep(100 * time.Millisecond)
		check(clearLine + "kshell: second")
		d.Update("third")
		check(clearLine + "kshell: third")
		d.End()
		check(clearLine)
		d.Update("late")
		d.End()
		check("")

		d = p.ProgressAfter(time.Second, "short wait")
		d.End()
		time.Sleep(2 * time.Second)
		check("")

		p.Quiet = true
		d = p.ProgressAfter(time.Second, "quiet")
		time.Sleep(2 * time.Second)
		d.End()
		check("")
	})
}

// Without a terminal, nothing is printed.
func TestProgressAfter_NoTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		d := New(&b).ProgressAfter(time.Second, "text")
		time.Sleep(2 * time.Second)
		d.Update("more")
		d.End()
		if b.Len() > 0 {
			t.Errorf("printed %q", &b)
		}
	})
}
