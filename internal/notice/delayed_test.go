package notice

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		p := New(&b)
		p.SetTerminal(columns(80))
		check := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := b.String(); got != want {
				t.Errorf("printed %q, want %q", got, want)
			}
			b.Reset()
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
