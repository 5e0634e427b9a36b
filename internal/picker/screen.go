package picker

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"kshell/internal/terminal"
)

// output returns the terminal on which the list is shown: stderr or, if stderr
// is not a terminal, the controlling terminal.
func output(stderr io.Writer) (out io.Writer, closeOut func(), err error) {
	if terminal.IsTerminal(stderr) {
		return stderr, func() {}, nil
	}
	name := "/dev/tty"
	if runtime.GOOS == "windows" {
		name = "CONOUT$"
	}
	tty, err := os.OpenFile(name, os.O_RDWR, 0) // on Windows, GetConsoleMode also needs read access
	if err != nil {
		return nil, nil, ErrNoTerminal
	}
	return tty, func() { _ = tty.Close() }, nil
}

const (
	enterScreen = ansi.SetModeAltScreenSaveCursor + ansi.HideCursor
	leaveScreen = ansi.ShowCursor + ansi.ResetModeAltScreenSaveCursor
)

// escapeTimeout is how long after an Esc byte the rest of an escape sequence
// may arrive. An Esc byte without a rest is the Esc key.
const escapeTimeout = 50 * time.Millisecond

// chooseOnScreen shows the list on the alternate screen.
func (l List) chooseOnScreen(ctx context.Context, o Options, input *terminal.Input, out io.Writer) (_ int, err error) {
	t, err := terminal.Open(o.In, out, o.Cleanup.AfterPanic)
	if err != nil {
		return 0, err
	}
	o.Cleanup.SetTerminal(t)
	defer t.Close()
	if _, err := t.Raw(); err != nil {
		return 0, err
	}
	s := &screen{view: newView(l, 80, 24, o), terminal: t, out: out}
	resized, stopResized := t.Resized()
	defer stopResized()
	continued := make(chan struct{}, 1)
	defer t.OnContinue(func() {
		_, _ = t.Raw() // the result is not needed: Close restores the terminal
		select {
		case continued <- struct{}{}:
		default: // a redraw is pending
		}
	})()
	typed, stopInput := readInput(t, input)
	defer stopInput()
	s.resized, s.continued, s.typed = resized, continued, typed
	defer func() {
		if _, writeErr := io.WriteString(out, leaveScreen); err == nil {
			err = writeErr
		}
	}()
	return s.run(ctx)
}

// screen is a view on a terminal. It is used by one goroutine.
type screen struct {
	*view
	terminal *terminal.Terminal
	out      io.Writer

	resized, continued <-chan struct{}
	typed              <-chan typedInput
	pending            []byte // input that may be the beginning of a key
}

// run draws the screen and handles events until the user closes the list.
func (s *screen) run(ctx context.Context) (int, error) {
	before := enterScreen
	for {
		s.setSize()
		if _, err := io.WriteString(s.out, before+s.frame()); err != nil {
			return 0, err
		}
		before = ""
		var timeout <-chan time.Time
		if len(s.pending) > 0 {
			timeout = time.After(escapeTimeout)
		}
		closed := false
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-s.resized:
		case <-s.continued:
			before = enterScreen
		case in := <-s.typed:
			if in.err != nil {
				return 0, fmt.Errorf("stdin: %w", in.err)
			}
			closed = s.pressAll(in.bytes)
		case <-timeout:
			closed = s.press(string(s.pending))
			s.pending = nil
		}
		if closed {
			return s.result()
		}
	}
}

// pressAll handles the keys in input, and keeps an incomplete one for later. It
// reports whether the list is to be closed.
func (s *screen) pressAll(input []byte) (closed bool) {
	s.pending = append(s.pending, input...)
	for n := keyLength(s.pending); n > 0; n = keyLength(s.pending) {
		if s.press(string(s.pending[:n])) {
			return true
		}
		s.pending = s.pending[n:]
	}
	return false
}

// setSize sets the size of the view to that of the terminal, if it is known.
func (s *screen) setSize() {
	if size, err := s.terminal.Size(); err == nil {
		s.resize(int(size.Width), int(size.Height))
	}
}

// typedInput is the result of a read of the input.
type typedInput struct {
	bytes []byte
	err   error
}

// readInput reads the input in a goroutine until stop is called. stop waits for
// the goroutine.
func readInput(t *terminal.Terminal, input *terminal.Input) (typed <-chan typedInput, stop func()) {
	reads, done := make(chan typedInput), make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		defer t.RestoreOnPanic()
		for {
			buffer := make([]byte, 256)
			n, err := input.Read(buffer)
			select {
			case reads <- typedInput{buffer[:n], err}:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	})
	return reads, func() {
		close(done)
		input.Cancel()
		reader.Wait()
	}
}

// frame returns the sequence that draws the whole screen. Each line is erased
// before it is written, because erasing after a line that fills the width would
// erase its last column.
func (v *view) frame() string {
	lines := v.lines()
	lines = lines[:min(len(lines), v.height)]
	var b strings.Builder
	b.WriteString(ansi.CursorHomePosition)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		erase := ansi.EraseLineRight
		if i == len(lines)-1 {
			erase = ansi.EraseScreenBelow
		}
		b.WriteString(erase + ansi.Truncate(line, v.width, ""))
	}
	return b.String()
}
