package terminal

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// errCanceled is returned by Input.Read after Input.Cancel. It is not io.EOF,
// because the input has not ended: another reader can read the rest.
var errCanceled = errors.New("read canceled")

// Cancel waits at most cancelChecks times, for cancelInterval each, for an
// interrupted Read to return. Normally, the Read returns at once. It blocks if
// it has found that there is input, but another process then reads that input
// first. There are several short waits, because kshell may be stopped during a
// wait: a stop of any length uses up only one of them.
const (
	cancelChecks   = 10
	cancelInterval = 100 * time.Millisecond
)

// Input reads an input stream: a terminal, a pipe, a file, a socket or
// /dev/null. Only one goroutine may call Read; any goroutine may call Pause and
// Cancel.
//
// A blocked Read can be interrupted where the system can wait for input without
// reading it: on Linux for a terminal, on Unix for every *os.File with a
// descriptor below 1024, on Windows for a console. Any other stream is read
// directly: Cancel does not end a blocked Read of such a stream, and returns
// false.
type Input struct {
	src      source        // only the holder of lock calls read and close; any goroutine may call interrupt and nudge
	lock     chan struct{} // one slot; full during a Read, during a pause, and after a Cancel that succeeded
	canceled chan struct{} // closed by Cancel
	cancel   func() bool   // calls doCancel the first time; later returns the same result

	peeked  []byte // what Peek has read; guarded by lock
	peekErr error  // the error of the last read of Peek; guarded by lock

	mu     sync.Mutex
	paused chan struct{} // closed at the end of the pause; nil if there is none; guarded by mu
}

// source is a stream. Some sources support interrupting a blocked read.
// interrupt is called at most once. close is called at most once, after
// interrupt and only while no read is in progress.
type source interface {
	// After interrupt, read returns errInterrupted without reading anything.
	read(p []byte) (int, error)
	// interrupt ends a blocked read. It returns false if the source cannot do
	// so.
	interrupt() bool
	close()
}

// nudger is a source that supports Pause. nudge makes one read return errNudged
// without reading anything: the read in progress or, if there is none, the next
// read. nudge reports whether it succeeded.
type nudger interface{ nudge() bool }

var (
	errInterrupted = errors.New("interrupted")
	errNudged      = errors.New("nudged")
)

// NewInput returns an Input that reads r. The Input reads nothing before the
// first Read. If a Read of r can be interrupted, NewInput creates a pipe (on
// Windows: an event) for that purpose. NewInput returns an error if it cannot
// create the pipe or event, for example because the process has no free
// descriptor. A Cancel that returns true closes the pipe or event.
func NewInput(r io.Reader) (*Input, error) {
	src, err := newSource(r)
	if err != nil {
		return nil, err
	}
	return newInput(src), nil
}

func newInput(src source) *Input {
	i := &Input{src: src, lock: make(chan struct{}, 1), canceled: make(chan struct{})}
	i.cancel = sync.OnceValue(i.doCancel)
	return i
}

func newSource(r io.Reader) (source, error) {
	if f, ok := r.(*os.File); ok {
		return fileSource(f)
	}
	return direct{r}, nil
}

// Polled reports whether a blocked Read waits in the poller of the Go runtime,
// and not in a system call, which would occupy a thread.
func (i *Input) Polled() bool {
	p, ok := i.src.(interface{ polled() bool })
	return ok && p.polled()
}

// Read implements io.Reader. It returns io.EOF at the end of the input. Ctrl-D
// in a terminal that is not raw, and a closed stdin, count as the end. It
// returns other errors after Cancel, if the terminal has hung up, and if the
// process is in the background and ignores SIGTTIN. If the process does not
// ignore SIGTTIN, the kernel stops it when it reads in the background.
//
// A Read that has read bytes returns them even if it was canceled at the same
// time.
func (i *Input) Read(p []byte) (int, error) {
	for {
		if n, err := i.readOnce(p); !errors.Is(err, errNudged) {
			return n, err
		}
	}
}

func (i *Input) readOnce(p []byte) (int, error) {
	if pause := i.pause(); pause != nil {
		select {
		case <-pause:
		case <-i.canceled:
		}
	}
	select {
	case i.lock <- struct{}{}:
		defer func() { <-i.lock }()
	case <-i.canceled:
		return 0, errCanceled
	}
	if i.isCanceled() {
		return 0, errCanceled
	}
	if len(i.peeked) > 0 {
		n := copy(p, i.peeked)
		i.peeked = i.peeked[n:]
		return n, nil
	}
	if err := i.peekErr; err != nil {
		i.peekErr = nil
		return 0, err
	}
	n, err := i.src.read(p)
	if errors.Is(err, errInterrupted) {
		err = errCanceled
	}
	return n, err
}

// Peek reads up to limit bytes if that is possible without waiting, and returns them.
// The next Reads return the same bytes. Peek returns nothing if there is no input yet,
// at the end of the input, during a Read or a pause, after Cancel, and if a Read
// cannot be interrupted (see [Input]).
func (i *Input) Peek(limit int) []byte {
	src, ok := i.src.(interface{ ready() bool })
	if !ok || i.pause() != nil {
		return nil
	}
	select {
	case i.lock <- struct{}{}:
		defer func() { <-i.lock }()
	default:
		return nil
	}
	if len(i.peeked) == 0 && i.peekErr == nil && !i.isCanceled() && src.ready() {
		buf := make([]byte, limit)
		n, err := i.src.read(buf)
		i.peeked = buf[:n]
		if !errors.Is(err, errNudged) && !errors.Is(err, errInterrupted) {
			i.peekErr = err
		}
	}
	return i.peeked[:min(limit, len(i.peeked))]
}

// shortInput is the largest size of a short input, in bytes: the default capacity of a
// pipe on Linux.
const shortInput = 64 << 10

// Short reports whether the input probably ends within 64 KiB. It reads nothing. It
// returns true for the null device, a regular file of which at most 64 KiB are left, and
// a pipe that no process can write to any more. Short returns false for other inputs,
// and if a Read cannot be interrupted (see [Input]).
func (i *Input) Short() bool {
	src, ok := i.src.(interface{ short() bool })
	return ok && src.short()
}

func (i *Input) isCanceled() bool {
	select {
	case <-i.canceled:
		return true
	default:
		return false
	}
}

func (i *Input) pause() chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.paused
}

// Pause stops reading until resume is called, so that another program can read
// the input. During the pause, a blocked Read stays blocked and reads nothing.
// resume may be called more than once.
//
// Pause changes nothing and returns false during another pause, after Cancel,
// if the input is a Windows console, and if a Read cannot be interrupted (see
// [Input]).
func (i *Input) Pause() (resume func(), ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n, ok := i.src.(nudger)
	if !ok || i.paused != nil || i.isCanceled() {
		return nil, false
	}
	end := make(chan struct{})
	i.paused = end
	if !n.nudge() {
		i.paused = nil
		return nil, false
	}
	select {
	case i.lock <- struct{}{}: // possible when the nudged Read has released the lock
	case <-i.canceled:
		i.paused = nil
		close(end)
		return nil, false
	}
	return sync.OnceFunc(func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.paused = nil
		close(end)
		<-i.lock
	}), true
}

// Cancel makes a blocked Read and all later ones return an error, and waits up
// to 1 s for the blocked one. It reports whether it is certain that nothing
// more is read from the input. During a pause (see [Input.Pause]), Cancel
// returns at once, and the pause continues.
//
// If a Read that cannot be interrupted (see [Input]) is in progress, Cancel
// returns false at once. That Read ends with the next input, so the caller must
// not wait for its goroutine. Further calls return the result of the first.
func (i *Input) Cancel() bool { return i.cancel() }

func (i *Input) doCancel() bool {
	close(i.canceled)
	if i.pause() != nil { // the pause holds the lock
		i.src.interrupt()
		i.src.close()
		return true
	}
	if !i.src.interrupt() {
		select {
		case i.lock <- struct{}{}:
			return true
		default:
			return false
		}
	}
	for range cancelChecks {
		select {
		case i.lock <- struct{}{}: // never released: there is no Read after this
			i.src.close()
			return true
		case <-time.After(cancelInterval):
		}
	}
	return false
}

// direct is a source that cannot be interrupted.
type direct struct{ io.Reader }

func (d direct) read(p []byte) (int, error) { return d.Read(p) }
func (direct) interrupt() bool              { return false }
func (direct) close()                       {}
