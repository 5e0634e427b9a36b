//go:build unix

package contract

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// Terminal is a real one, with a program in it and a user who types and reads.
type Terminal struct {
	t    testing.TB
	cmd  *exec.Cmd
	user *os.File
	over chan struct{} // closed when all that the program wrote was read
	wait func() error  // for the program's end

	mu      sync.Mutex
	text    []byte
	changed chan struct{} // 1 slot
	seen    int           // how much of text has been awaited
}

// atLast bounds whatever is awaited, unless it is said how long that may take.
const atLast = 40 * time.Second

// Open runs the program in a terminal of 80 columns. The test's end kills it.
func (p Program) Open(t testing.TB, args ...string) *Terminal {
	t.Helper()
	return openTerminal(t, p.Command(t.Context(), t, args...), pty.Winsize{Rows: 24, Cols: 80})
}

// openTerminal starts a program in a new terminal, which gets those of its streams that lead nowhere yet.
func openTerminal(t testing.TB, cmd *exec.Cmd, size pty.Winsize) *Terminal {
	t.Helper()
	user, err := pty.StartWithSize(cmd, &size)
	if err != nil {
		t.Fatal(err)
	}
	w := &Terminal{t: t, cmd: cmd, user: user, over: make(chan struct{}), wait: sync.OnceValue(cmd.Wait), changed: make(chan struct{}, 1)}
	go w.read()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = w.wait()
		<-w.over
		_ = user.Close()
	})
	return w
}

// Shell opens a shell of kshell's, and waits for its prompt, which it sets to "ready$ " so that no image's own is looked for.
func (p Program) Shell(t testing.TB, args ...string) *Terminal {
	t.Helper()
	w := p.Open(t, append([]string{"exec"}, args...)...)
	w.Await(`[$#] `)
	w.Prompt()
	return w
}

// Prompt gives the shell a prompt of ours, and waits for it. The words are not on the screen before they are the prompt.
func (w *Terminal) Prompt() {
	w.t.Helper()
	w.Type("PS1='rea''dy$ '\r")
	w.Await(`ready\$ `)
}

func (w *Terminal) read() {
	defer close(w.over)
	buf := make([]byte, 32<<10)
	for {
		n, err := w.user.Read(buf)
		w.mu.Lock()
		w.text = append(w.text, buf[:n]...)
		w.mu.Unlock()
		select {
		case w.changed <- struct{}{}:
		default:
		}
		if err != nil { // EIO: nobody has the other side any more
			return
		}
	}
}

// Type types.
func (w *Terminal) Type(keys string) {
	w.t.Helper()
	if _, err := w.user.WriteString(keys); err != nil {
		w.t.Errorf("typing %q: %v", keys, err)
	}
}

// Escape types Enter, ~ and key, and repeats that until kshell has written a match of
// the expression. The repetition is necessary because kshell takes Enter and ~ for a
// paste if it reads them together, and the test cannot see when it has read Enter.
func (w *Terminal) Escape(key, expression string) {
	w.t.Helper()
	for begin := time.Now(); time.Since(begin) < atLast; {
		w.Type("\r")
		time.Sleep(50 * time.Millisecond)
		w.Type("~" + key)
		if w.Has(5*time.Second, expression) {
			return
		}
	}
	w.t.Fatalf("typed ~%s for %v without a match of %q; the terminal: %q", key, atLast, expression, last(w.Text(), 2000))
}

// Await waits for text behind what was awaited last, and returns what matched.
func (w *Terminal) Await(expression string) string {
	w.t.Helper()
	return w.AwaitFor(atLast, expression)
}

// AwaitFor is Await within a time.
func (w *Terminal) AwaitFor(within time.Duration, expression string) string {
	w.t.Helper()
	found, ok := w.await(within, expression)
	if !ok {
		w.t.Fatalf("waited %v in vain for %q; then came %q", within, expression, last(w.Text(), 2000))
	}
	return found
}

// Has says whether such text comes within a time.
func (w *Terminal) Has(within time.Duration, expression string) bool {
	_, ok := w.await(within, expression)
	return ok
}

func (w *Terminal) await(within time.Duration, expression string) (found string, ok bool) {
	wanted := regexp.MustCompile(expression)
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		w.mu.Lock()
		text := w.text[w.seen:]
		at := wanted.FindIndex(text)
		if at != nil {
			w.seen += at[1]
			found := string(text[at[0]:at[1]])
			w.mu.Unlock()
			return found, true
		}
		w.mu.Unlock()
		select {
		case <-w.changed:
		case <-late.C:
			return "", false
		}
	}
}

// Text is all that came.
func (w *Terminal) Text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}

// awaited is what came, to the end of what was awaited last; of a program that has ended, all of it.
func (w *Terminal) awaited() string {
	select {
	case <-w.over:
		return w.Text()
	default:
		w.mu.Lock()
		defer w.mu.Unlock()
		return string(w.text[:w.seen])
	}
}

// Signal sends the program a signal.
func (w *Terminal) Signal(s syscall.Signal) {
	w.t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		w.t.Error(err)
	}
}

// End waits for the program's end, and gives its exit code.
func (w *Terminal) End() int {
	w.t.Helper()
	code, ok := w.EndWithin(atLast)
	if !ok {
		w.t.Fatalf("it still ran after %v; the terminal: %q", atLast, last(w.Text(), 2000))
	}
	return code
}

// EndWithin waits for the program's end for so long; not ok: it still runs.
func (w *Terminal) EndWithin(d time.Duration) (code int, ok bool) {
	w.t.Helper()
	done := make(chan error, 1)
	go func() { done <- w.wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			w.t.Error(err)
		}
		select {
		case <-w.over: // its last words are read
		case <-time.After(atLast): // a child of its has the terminal yet
		}
		return w.cmd.ProcessState.ExitCode(), true
	case <-time.After(d):
		return 0, false
	}
}

// MustEnd is End with a certain code.
func (w *Terminal) MustEnd(code int) {
	w.t.Helper()
	if got := w.End(); got != code {
		w.t.Errorf("exit code %d, want %d; the terminal: %q", got, code, last(w.Text(), 2000))
	}
}

func last(text string, n int) string { return text[max(0, len(text)-n):] }
