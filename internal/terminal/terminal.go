// Package terminal controls the local terminal. It sets raw mode and restores
// the terminal modes, returns the size and reports size changes, reads standard
// input, filters keys, and tracks the modes that the remote output sets.
//
// It does not know the network, Kubernetes, flags or exit codes. It prints no
// messages. It does not use os.Stdin or os.Stdout: the caller passes the
// streams.
//
// Types:
//   - [Terminal] sets and restores modes, and reports the size.
//   - [Input] reads the input. A blocked Read can be canceled.
//   - [Keys] removes commands for kshell from the input: the escape character,
//     usually ~, and the key after it.
//   - [LineGuard] keeps the shell from running a line that lost keys in an
//     outage.
//   - [Screen] tracks the modes that the remote output sets, and shows a status
//     line.
//
// AwaitEOF waits for Ctrl-D and AwaitEnter for Enter on a terminal. AwaitClosed
// waits until the readers of a pipe have closed it.
//
// Invariants:
//   - After Raw has succeeded, one call of Restore restores the modes from
//     before raw mode, however often Raw was called. Any goroutine may call
//     Restore. It does not wait for output, for a reader or for the user, and
//     never stops the process.
//   - The modes that Raw saves are those that the user's shell has set. In the
//     background, another program may have set the modes, so Raw returns an
//     error.
//   - After Close, Raw returns an error, so that goroutines that still run
//     while the program exits cannot change the terminal.
//   - Input.Read reads the input only into its caller's buffer. After
//     Input.Cancel has returned true, Input reads nothing: another reader
//     receives all that follows.
//   - A notification of a size change does not contain the size. The receiver
//     calls Size, so that it sees the newest size. The channel holds at most
//     one notification, so that they do not queue up.
//   - The package starts goroutines in three places: in Resized and in
//     OnContinue, where stop ends the goroutine, and in the first Keys.Read,
//     where Keys.Cancel ends it.
//   - The package handles SIGWINCH between Resized and its stop, and SIGCONT
//     between OnContinue and its stop and during Suspend; it ignores SIGTTOU
//     during a restore. Nothing else in the program may register for these
//     signals.
//   - Output is parsed by [ansi.Parser], and input by a parser of this package,
//     because the syntax of input differs.
//
// Some events end the process without a restore: SIGKILL, a fatal error of the
// Go runtime (concurrent map writes, stack overflow) and os.Exit. After a
// panic, the terminal is restored, if each goroutine of the program either
// passes its panic to a goroutine that waits for it or defers
// [Terminal.RestoreOnPanic].
package terminal

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/term"
)

var (
	// errNotTerminal is returned by Open if the input is not a terminal.
	errNotTerminal = errors.New("standard input is not a terminal")
	// errBackground is returned by Terminal.Raw and Input.Read if the process
	// is in the background. Its method Hint tells the user what to do.
	errBackground error = backgroundError{}
	// errClosed is returned by Terminal.Raw after Terminal.Close.
	errClosed = errors.New("terminal closed: the program is exiting")
)

type backgroundError struct{}

func (backgroundError) Error() string {
	return "the terminal belongs to another job: this process runs in the background"
}

// Hint returns what the user can do.
func (backgroundError) Hint() string {
	return "run it in the foreground; with timeout(1), use timeout --foreground"
}

// Terminal is the terminal of an input and an output stream. Its methods may be
// called from any goroutine.
type Terminal struct {
	onPanic func(value any) // called by RestoreOnPanic after it has restored the modes; may be nil

	in, out int // descriptors (on Windows: handles); out may be noTerminal

	// Guarded by mu.
	mu     sync.Mutex
	saved  *modes // the modes that restore sets; nil if the terminal is not raw
	closed bool
}

// noTerminal is the descriptor of a stream that is not a terminal.
const noTerminal = -1

// IsTerminal reports whether stream is a terminal. A stream without a method
// Fd() uintptr, which *os.File has, is not a terminal.
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

// Open returns the terminal of in and out. It does not change the modes of the
// terminal. It returns an error if in is not a terminal. out need not be a
// terminal: the output may go to a file.
//
// The streams must stay open for as long as the Terminal is used. onPanic, if
// not nil, is called by RestoreOnPanic with the value of the panic, for other
// cleanup.
func Open(in io.Reader, out io.Writer, onPanic func(value any)) (*Terminal, error) {
	t := &Terminal{onPanic: onPanic, in: terminalFd(in), out: terminalFd(out)}
	if t.in == noTerminal {
		return nil, errNotTerminal
	}
	return t, nil
}

// Raw sets raw mode: each key is read at once, is not echoed and has no special
// meaning (Ctrl-C is a byte, not a signal), and output is not processed. On
// Windows, input and output use VT sequences.
//
// Defer the returned restore on the next line. It undoes this Raw and all
// earlier ones, does nothing while the terminal is not raw, and may be called
// from any goroutine, any number of times. To suspend the process, call restore
// and [Suspend], and then Raw again; the first deferred restore still applies.
// Calling Raw in raw mode sets the modes again, as is necessary after the
// process was stopped and continued.
//
// Raw returns an error after Close, and if the process is in the background. In
// the background, restore acts only if the modes are still those that Raw has
// set. If they are not, the foreground job (a shell, an editor) has set its own
// modes, which must not be changed.
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
		return nil, fmt.Errorf("set the terminal to raw mode: %w", err)
	}
	if t.saved != nil {
		m.restoreTo(t.saved)
	}
	t.saved = m
	return t.Restore, nil
}

// Restore leaves raw mode; it is the function that Raw returns. If it fails,
// because the terminal has hung up, a later call tries again.
func (t *Terminal) Restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restore()
}

// Close leaves raw mode and makes later calls of Raw return an error. It may be
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

// RestoreOnPanic restores the terminal if the goroutine panics. Defer it first
// in a goroutine whose panic is not handled elsewhere:
//
//	go func() {
//		defer t.RestoreOnPanic()
//		...
//	}()
//
// If the goroutine panics, RestoreOnPanic closes the terminal, calls onPanic,
// which may end the process, and panics again. The trace is then readable, and
// includes the frames of the first panic.
func (t *Terminal) RestoreOnPanic() {
	if cause := recover(); cause != nil {
		t.Close()
		if t.onPanic != nil {
			t.onPanic(cause)
		}
		panic(cause)
	}
}
