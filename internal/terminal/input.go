package terminal

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// errCanceled is the error of [Input.Read] after [Input.Cancel]. It is not the
// end of the input: what was not read is still there for the next reader.
var errCanceled = errors.New("read canceled")

// cancelGrace bounds how long Cancel waits for an interrupted Read to come back.
// It comes back at once, unless somebody else took what it was about to read.
const cancelGrace = time.Second

// cancelLooks are the waits that cancelGrace is made of. A process that stood still meanwhile has waited for one of them, not for all.
const cancelLooks = 10

// Input is the one reader of standard input, whatever that is: a terminal, a
// pipe, a file, a socket, /dev/null. One goroutine reads; any may cancel.
//
// A blocked Read can be interrupted where the system can wait for input without
// taking it: on Unix for every *os.File, on Windows for a console. Any other
// reader (and, on Unix, a descriptor of 1024 or higher) is read directly: Cancel
// returns false while such a Read is blocked, and does not end it.
type Input struct {
	src      source
	turn     chan struct{} // 1 slot: held during a Read, in a pause, and for ever after Cancel
	canceled chan struct{} // closed by Cancel
	cancel   func() bool

	mu     sync.Mutex
	paused chan struct{} // closed at the end of a pause; nil outside
}

// source is a stream that can be read and perhaps interrupted. interrupt and
// close are called once, in that order, close only when no read is under way.
type source interface {
	// read returns errInterrupted, having taken nothing, once it is interrupted.
	read(p []byte) (int, error)
	// interrupt reports whether it ends a read that is under way.
	interrupt() bool
	close()
}

// nudged is a source whose read can be made to return errNudged, having taken
// nothing, and goes on with the next call.
type nudged interface{ nudge() bool }

var (
	errInterrupted = errors.New("interrupted")
	errNudged      = errors.New("nudged")
)

// NewInput makes r the input. Nothing is read before the first Read. It fails if
// the system has no descriptor left for the means of interruption. An Input
// needs no Close, but Cancel frees what it holds.
func NewInput(r io.Reader) (*Input, error) {
	src, err := newSource(r)
	if err != nil {
		return nil, err
	}
	i := &Input{src: src, turn: make(chan struct{}, 1), canceled: make(chan struct{})}
	i.cancel = sync.OnceValue(i.doCancel)
	return i, nil
}

func newSource(r io.Reader) (source, error) {
	if f, ok := r.(*os.File); ok {
		return fileSource(f)
	}
	return direct{r}, nil
}

// Read blocks until there is something to read and returns it, as io.Reader has
// it: io.EOF at the end of the input (Ctrl-D in a cooked terminal, a closed
// stdin), [errCanceled] after Cancel, [errBackground] if another job has the
// terminal and the kernel gives an error instead of stopping this process, as
// it does by default, until the user brings it to the front.
//
// A Read that got bytes returns them, also when it was canceled meanwhile.
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
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-i.canceled:
		return 0, errCanceled
	}
	if i.isCanceled() {
		return 0, errCanceled
	}
	n, err := i.src.read(p)
	if errors.Is(err, errInterrupted) {
		err = errCanceled
	}
	return n, err
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

// Pause keeps the input from being read until resume is called: another program
// is to have it. A Read that is under way goes on then, and has taken nothing. It
// is not ok, and nothing is changed, where a Read cannot be interrupted (see
// [Input]), in a pause and after Cancel.
func (i *Input) Pause() (resume func(), ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n, able := i.src.(nudged)
	if !able || i.paused != nil || i.isCanceled() {
		return nil, false
	}
	over := make(chan struct{})
	i.paused = over
	if !n.nudge() {
		i.paused = nil
		return nil, false
	}
	select {
	case i.turn <- struct{}{}: // the Read gives it back
	case <-i.canceled:
		i.paused = nil
		close(over)
		return nil, false
	}
	return sync.OnceFunc(func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.paused = nil
		close(over)
		<-i.turn
	}), true
}

// Cancel makes a blocked Read and all later ones return [errCanceled]. It
// reports whether it is certain that nothing is taken from the input any more.
//
// It is false, at once, if a Read is under way that cannot be interrupted (see
// [Input]): that Read ends when the stream gives it something, and its goroutine
// must not be waited for. Otherwise Cancel waits for the Read to come back, for
// 1 s at most. Further calls return what the first has returned.
func (i *Input) Cancel() bool { return i.cancel() }

func (i *Input) doCancel() bool {
	close(i.canceled)
	if !i.src.interrupt() {
		select {
		case i.turn <- struct{}{}:
			return true
		default:
			return false
		}
	}
	for range cancelLooks {
		select {
		case i.turn <- struct{}{}: // never given back: no Read after this
			i.src.close()
			return true
		case <-time.After(cancelGrace / cancelLooks):
		}
	}
	return false
}

// direct is a stream that cannot be interrupted.
type direct struct{ io.Reader }

func (d direct) read(p []byte) (int, error) { return d.Read(p) }
func (direct) interrupt() bool              { return false }
func (direct) close()                       {}
