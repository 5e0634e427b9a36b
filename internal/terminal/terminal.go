// Package terminal controls the local terminal: it sets raw mode and restores the
// modes reliably, returns the size, notifies of size changes, and reads standard
// input.
//
// It does not know the network, Kubernetes, flags or exit codes. It prints
// nothing, and does not use os.Stdin or os.Stdout: the caller passes the streams.
//
// Invariants:
//   - After Raw has succeeded, one call of restore, on any goroutine and
//     however often Raw was called, restores the modes saved before. Restore
//     waits for no output, no reader and no user, and never stops the process.
//   - The saved modes are those that the user's shell has set: in the background,
//     where another program may have set them, Raw returns an error.
//   - After Close, Raw returns an error: goroutines that still run while the
//     program exits cannot change the terminal.
//   - Bytes are read from the input only into the buffer of a caller of Read. After
//     Cancel has returned true, no byte is read: each key is left to the next
//     reader.
//   - A size change is a notification without content, in a channel of one slot.
//     The receiver calls Size, so that the newest size wins and nothing queues up.
//   - The package starts three goroutines: in Resized and OnContinue, whose stop
//     waits for them, and in the first Read of Keys, which Cancel ends.
//   - The package handles SIGWINCH between Resized and its stop, and SIGCONT
//     between OnContinue and its stop; it ignores SIGTTOU during a restore. Nothing
//     else in the program may register for these signals.
//
// Some events end the process without a restore: SIGKILL, a fatal error of the Go
// runtime (concurrent map writes, stack overflow) and os.Exit. A panic does not, if
// each goroutine of the program either passes its panic to a goroutine that waits
// for it or defers [Terminal.RestoreOnPanic].
package terminal

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/term"
)

// errNotTerminal is the error of [Open] when the input is no terminal.
var errNotTerminal = errors.New("standard input is not a terminal")

// errBackground says that another job has the terminal at the moment. [Terminal.Raw]
// and [Input.Read] return it. It has a hint.
var errBackground error = backgroundError{}

type backgroundError struct{}

func (backgroundError) Error() string {
	return "the terminal belongs to another job: this process runs in the background"
}

// Hint says what to type instead.
func (backgroundError) Hint() string {
	return "run it in the foreground; with timeout(1), use timeout --foreground"
}

// errClosed is the error of [Terminal.Raw] after [Terminal.Close].
var errClosed = errors.New("terminal closed: the program is exiting")

// Terminal is the terminal behind an input and an output stream. Its methods
// may be called from any goroutine.
type Terminal struct {
	// OnPanic, if not nil, is called by RestoreOnPanic for other cleanup. Set it
	// before the first call of a method.
	OnPanic func()

	in, out int // descriptors (Windows: handles); out is noTerminal if it is none

	mu     sync.Mutex
	saved  *modes // what restore gives back; nil unless raw
	closed bool
}

// noTerminal stands for a stream that is no terminal.
const noTerminal = -1

// IsTerminal reports whether stream is a terminal: an *os.File, or anything
// else with a method Fd() uintptr, whose descriptor is one.
func IsTerminal(stream any) bool {
	return terminalFd(stream) != noTerminal
}

func terminalFd(stream any) int {
	f, ok := stream.(interface{ Fd() uintptr })
	if !ok {
		return noTerminal
	}
	if fd := int(f.Fd()); term.IsTerminal(fd) {
		return fd
	}
	return noTerminal
}

// Open returns the terminal of in and out. It does not change its modes. The error
// is [errNotTerminal] if in is not a terminal; out need not be one (the output may
// go to a file).
//
// The streams must stay open for as long as the Terminal is used.
func Open(in io.Reader, out io.Writer) (*Terminal, error) {
	t := &Terminal{in: terminalFd(in), out: terminalFd(out)}
	if t.in == noTerminal {
		return nil, errNotTerminal
	}
	return t, nil
}

// Raw sets raw mode: each key is read at once, is not echoed and has no special
// meaning (Ctrl-C is a byte, not a signal), and output is not processed. On Windows,
// input and output use VT sequences.
//
// Defer the returned restore on the next line. It undoes this Raw and all earlier
// ones, does nothing while the terminal is not raw, and may be called from any
// goroutine, any number of times. To suspend and resume, call restore, stop, and
// call Raw again; the first deferred restore still applies. Raw in raw mode sets
// the modes again, for a program that was stopped and continued from outside.
//
// Raw returns [errClosed] after Close, and [errBackground] if the process is in the
// background. In the background, restore acts only if the modes are still those
// that Raw has set: otherwise the foreground job (a shell, an editor) has set its
// own.
func (t *Terminal) Raw() (restore func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed
	}
	if background(t.in) {
		return nil, errBackground
	}
	m, err := makeRaw(t.in, t.out)
	if err != nil {
		return nil, fmt.Errorf("put the terminal into raw mode: %w", err)
	}
	if t.saved != nil {
		m.keep(t.saved)
	}
	t.saved = m
	return t.Restore, nil
}

// Restore leaves raw mode; it is the function that Raw returns. If that fails (the
// terminal has hung up), a later call tries again.
func (t *Terminal) Restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restore()
}

// Close leaves raw mode and makes later calls of Raw return [errClosed]. It may be
// called from any goroutine, any number of times.
func (t *Terminal) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.restore()
}

// restore is called with mu held.
func (t *Terminal) restore() {
	if t.saved != nil && t.saved.restore(t.in, t.out) == nil {
		t.saved = nil
	}
}

// RestoreOnPanic restores the terminal if the goroutine panics. Defer it first in a
// goroutine whose panic is not handled elsewhere:
//
//	go func() {
//		defer t.RestoreOnPanic()
//		...
//	}()
//
// If the goroutine panics, RestoreOnPanic closes the terminal, calls OnPanic, and
// panics again, so that the trace is readable and the user's shell usable. The trace
// keeps the frames of the first panic.
func (t *Terminal) RestoreOnPanic() {
	if cause := recover(); cause != nil {
		t.Close()
		if t.OnPanic != nil {
			t.OnPanic()
		}
		panic(cause)
	}
}
