// Package terminal drives the local terminal: raw mode and its certain
// restore, the size, a notice when the size changes, and the one reader of
// standard input.
//
// It does not know the network, Kubernetes, flags or exit codes. It prints
// nothing, and it never names the process's own streams: they come in.
//
// Invariants:
//   - Once Raw has succeeded, one call of restore, on any goroutine and
//     however often Raw was called, gives back the modes noted before. Restore
//     waits for no output, no reader and no user, and never stops the process.
//   - The modes noted are those of a terminal that was ours: Raw refuses to
//     begin in the background, where it would note those of another program.
//   - After Close, Raw is refused: whatever still runs while the program ends, the
//     terminal stays as it was.
//   - No byte leaves the input except into the buffer of a caller of Read. After
//     Cancel has said true, none does: each key is for the next reader.
//   - A change of size is a notice without content, in one slot. Who gets one
//     asks Size, so the newest size wins and nothing can queue up.
//   - The package starts three goroutines: in Resized and Continued, whose stop
//     waits for them, and in the first Read of Keys, which Cancel ends.
//   - Of all signals it listens for SIGWINCH, between Resized and its stop, and
//     SIGCONT, between Continued and its stop; it ignores SIGTTOU for the length
//     of a restore. Nothing else in the program may register for these.
//
// What no program can do: SIGKILL, a fatal error of the Go runtime (concurrent
// map writes, stack overflow) and os.Exit end the process without a restore. A
// panic does not, as long as each goroutine of the program either hands its
// panic to a goroutine that waits for it or defers [Terminal.RestoreOnPanic].
package terminal

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/term"
)

// ErrNotTerminal is the error of [Open] when the input is no terminal.
var ErrNotTerminal = errors.New("standard input is not a terminal")

// ErrBackground says that another job has the terminal at the moment. [Terminal.Raw]
// and [Input.Read] return it. It has a hint.
var ErrBackground error = backgroundError{}

type backgroundError struct{}

func (backgroundError) Error() string {
	return "the terminal belongs to another job: this process runs in the background"
}

// Hint says what to type instead.
func (backgroundError) Hint() string {
	return "run it in the foreground; behind timeout(1) that takes timeout --foreground"
}

// ErrClosed is the error of [Terminal.Raw] after [Terminal.Close].
var ErrClosed = errors.New("the terminal is not used any more: the program is ending")

// Terminal is the terminal behind an input and an output stream. Its methods
// may be called from any goroutine.
type Terminal struct {
	// Panicked undoes what else must be undone when a goroutine panics: see
	// RestoreOnPanic. It is set before the first call of a method; nil: nothing.
	Panicked func()

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

// Open returns the terminal behind in and out. It changes nothing. The error is [ErrNotTerminal] if in is no terminal; out need not be
// one (its output may go to a file).
//
// The streams must stay open for as long as the Terminal is used.
func Open(in io.Reader, out io.Writer) (*Terminal, error) {
	t := &Terminal{in: terminalFd(in), out: terminalFd(out)}
	if t.in == noTerminal {
		return nil, ErrNotTerminal
	}
	return t, nil
}

// Raw makes every key arrive at once, unechoed and without a meaning of its own
// (Ctrl-C is a byte, not a signal), and output pass unchanged. On Windows keys
// arrive, and output is taken, as VT sequences.
//
// The restore that it returns belongs on the next line, deferred. It undoes the
// last Raw and any before it, does nothing while the terminal is not raw, and
// may be called from any goroutine, any number of times. Suspending and resuming
// is thus restore, stop, Raw, and the restore deferred at first still holds.
// Raw while raw sets the modes anew, for a program that was stopped and
// continued unasked.
//
// Raw returns [ErrClosed] after Close. It returns [ErrBackground] if another job
// has the terminal. There, restore
// acts only if the modes are still those that Raw has set: otherwise the job
// in front (a shell, an editor) has chosen its own.
func (t *Terminal) Raw() (restore func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	if background(t.in) {
		return nil, ErrBackground
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

// Restore leaves raw mode; it is what Raw returns. If the terminal refuses (it
// has hung up), a later call tries again.
func (t *Terminal) Restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restore()
}

// Close leaves raw mode for good: Raw returns [ErrClosed] from then on. It may be
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

// RestoreOnPanic is deferred, first of all, in a goroutine whose panic nobody
// else takes care of:
//
//	go func() {
//		defer t.RestoreOnPanic()
//		...
//	}()
//
// If the goroutine panics, the terminal is closed, and Panicked called, before
// the panic goes on, so the trace is readable and the user's shell usable. The trace keeps the
// frames of the first panic. Without a panic it does nothing.
func (t *Terminal) RestoreOnPanic() {
	if cause := recover(); cause != nil {
		t.Close()
		if t.Panicked != nil {
			t.Panicked()
		}
		panic(cause)
	}
}
