//go:build unix

package contract

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// Terminal is a pty with a program in it.
type Terminal struct {
	t           testing.TB
	cmd         *exec.Cmd
	user        *os.File      // the master side of the pty
	outputEnded chan struct{} // closed when all output has been read
	wait        func() error  // waits for the exit of the program

	mu      sync.Mutex
	answers bool // answer cursorQuery
	text    []byte
	changed chan struct{} // receives after new output; 1 slot
	seen    int           // length of the text up to the end of the last match
}

// terminalTimeout is the default time limit of waits.
const terminalTimeout = 40 * time.Second

// Open runs the program in a terminal of 80 columns. It is killed at the end of
// the test.
func (p Program) Open(t testing.TB, args ...string) *Terminal {
	t.Helper()
	return openTerminal(t, p.Command(t.Context(), t, args...), pty.Winsize{Rows: 24, Cols: 80})
}

// openTerminal starts a program in a new terminal. The standard streams that
// are not set in cmd are connected to the terminal.
func openTerminal(t testing.TB, cmd *exec.Cmd, size pty.Winsize) *Terminal {
	t.Helper()
	user, err := pty.StartWithSize(cmd, &size)
	if err != nil {
		t.Fatal(err)
	}
	w := &Terminal{
		t:           t,
		cmd:         cmd,
		user:        user,
		outputEnded: make(chan struct{}),
		wait:        sync.OnceValue(cmd.Wait),
		changed:     make(chan struct{}, 1),
	}
	go w.read()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = w.wait()
		<-w.outputEnded
		_ = user.Close()
	})
	return w
}

// Shell opens a shell, and sets its prompt, which may be different in each
// image, to "ready$ ".
func (p Program) Shell(t testing.TB, args ...string) *Terminal {
	t.Helper()
	w := p.Open(t, append([]string{"exec"}, args...)...)
	w.WaitFor(`[$#] `)
	w.Prompt()
	return w
}

// Prompt sets the prompt of the shell, and waits for it. The echo of the
// command does not look like the prompt.
func (w *Terminal) Prompt() {
	w.t.Helper()
	w.Type("PS1='rea''dy$ '\r")
	w.WaitFor(`ready\$ `)
}

func (w *Terminal) read() {
	defer close(w.outputEnded)
	buf := make([]byte, 32<<10)
	for {
		n, err := w.user.Read(buf)
		w.mu.Lock()
		before := bytes.Count(w.text, cursorQuery)
		w.text = append(w.text, buf[:n]...)
		queries := bytes.Count(w.text, cursorQuery) - before
		answers := w.answers
		w.mu.Unlock()
		if answers {
			_, _ = w.user.WriteString(strings.Repeat(cursorPosition, queries)) // fails if the terminal is closed
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
		if err != nil { // EIO: the other side is closed
			return
		}
	}
}

// cursorQuery is what a program writes to ask for the cursor position.
var cursorQuery = []byte("\x1b[6n")

// cursorPosition is a terminal's answer to cursorQuery.
const cursorPosition = "\x1b[24;10R"

// AnswerQueries makes the terminal answer each later query for the cursor
// position, as real terminals do.
func (w *Terminal) AnswerQueries() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = true
}

// Resize changes the size of the terminal.
func (w *Terminal) Resize(rows, columns uint16) {
	w.t.Helper()
	if err := pty.Setsize(w.user, &pty.Winsize{Rows: rows, Cols: columns}); err != nil {
		w.t.Error(err)
	}
}

// Type types keys.
func (w *Terminal) Type(keys string) {
	w.t.Helper()
	if _, err := w.user.WriteString(keys); err != nil {
		w.t.Errorf("typing %q: %v", keys, err)
	}
}

// TypeEscape types Enter, ~ and key, and repeats that until kshell has written
// a match of the expression. The repetition is necessary because kshell
// treats Enter and ~ as a paste if it reads them together, and the test cannot
// observe when kshell has read Enter.
func (w *Terminal) TypeEscape(key, expression string) {
	w.t.Helper()
	for begin := time.Now(); time.Since(begin) < terminalTimeout && !w.ended(); {
		w.Type("\r")
		time.Sleep(50 * time.Millisecond)
		w.Type("~" + key)
		if w.ShowsWithin(5*time.Second, expression) {
			return
		}
	}
	w.t.Fatalf("typed ~%s for %v without a match of %q; the terminal: %q", key, terminalTimeout, expression,
		last(w.Text(), 2000))
}

// WaitFor waits for a match of the expression in the output that follows the
// previous match, and returns the new match.
func (w *Terminal) WaitFor(expression string) string {
	w.t.Helper()
	return w.WaitForWithin(terminalTimeout, expression)
}

// WaitForWithin is like WaitFor, but with the given time limit.
func (w *Terminal) WaitForWithin(within time.Duration, expression string) string {
	w.t.Helper()
	found, ok := w.await(within, expression)
	if !ok {
		limit := fmt.Sprint("within ", within)
		if w.ended() {
			limit = "before the program exited"
		}
		w.t.Fatalf("no match of %q %s; the output: %q", expression, limit, last(w.Text(), 2000))
	}
	return found
}

// ended reports whether the program has exited, so that no more output follows.
func (w *Terminal) ended() bool {
	select {
	case <-w.outputEnded:
		return true
	default:
		return false
	}
}

// ShowsWithin reports whether the program writes output that matches the
// expression within the given time. It returns early if the program exits.
func (w *Terminal) ShowsWithin(within time.Duration, expression string) bool {
	_, ok := w.await(within, expression)
	return ok
}

func (w *Terminal) await(within time.Duration, expression string) (found string, ok bool) {
	wanted := regexp.MustCompile(expression)
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		ended := w.ended()
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
		if ended {
			return "", false
		}
		select {
		case <-w.changed:
		case <-w.outputEnded:
		case <-late.C:
			return "", false
		}
	}
}

// Text returns the whole output.
func (w *Terminal) Text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}

// textSoFar returns the output up to the end of the last match, or all of it if
// the program has exited.
func (w *Terminal) textSoFar() string {
	select {
	case <-w.outputEnded:
		return w.Text()
	default:
		w.mu.Lock()
		defer w.mu.Unlock()
		return string(w.text[:w.seen])
	}
}

// Signal sends a signal to the program.
func (w *Terminal) Signal(s syscall.Signal) {
	w.t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		w.t.Error(err)
	}
}

// Exit waits for the exit of the program, and returns its exit code.
func (w *Terminal) Exit() int {
	w.t.Helper()
	code, ok := w.ExitWithin(terminalTimeout)
	if !ok {
		w.t.Fatalf("the program still ran after %v; the terminal: %q", terminalTimeout, last(w.Text(), 2000))
	}
	return code
}

// ExitWithin waits for the exit of the program, at most for the time d. ok is
// false if the program still runs.
func (w *Terminal) ExitWithin(d time.Duration) (code int, ok bool) {
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
		case <-w.outputEnded: // all output has been read
		case <-time.After(terminalTimeout): // a child of the program still has the terminal
		}
		return ExitCode(w.cmd.ProcessState), true
	case <-time.After(d):
		return 0, false
	}
}

// CheckExit waits for the exit of the program, and checks its exit code.
func (w *Terminal) CheckExit(code int) {
	w.t.Helper()
	if got := w.Exit(); got != code {
		w.t.Errorf("exit code %d, want %d; the terminal: %q", got, code, last(w.Text(), 2000))
	}
}

func last(text string, n int) string { return text[max(0, len(text)-n):] }
