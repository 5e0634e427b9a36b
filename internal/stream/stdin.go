package stream

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"kshell/internal/group"
)

// stdinSize is the payload of one stdin message, in bytes. Larger ones are
// hardly faster (64 KiB: 8 %), and smaller ones are slower.
const stdinSize = 32 << 10

// The keys with a meaning while no connection is open.
const (
	keyCtrlC = 0x03
	keyCtrlD = 0x04
)

// InputError means that stdin could not be read to its end. The stdin of the
// remote process is not closed.
type InputError struct{ Err error }

func (e *InputError) Error() string { return "cannot read the input: " + e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// stdinSender reads the session's stdin and sends it on the open connection. It
// starts with the first connection and continues until the end of the session.
type stdinSender struct {
	session *Session
	end     func(error) // ends the session with a cause

	mu      sync.Mutex
	opened  *sync.Cond // signals that opening has become false; its lock is mu
	opening bool       // conn is about to be set; send waits for that
	started bool       // run was started
	conn    *Conn      // the open connection, or nil
	number  int        // the number of connections opened so far
	closed  *Conn      // the last closed connection
	eof     bool       // stdin has ended
	stopped bool       // the session has ended
	lastKey byte       // the last byte of stdin
}

func newStdinSender(s *Session, end func(error)) *stdinSender {
	in := &stdinSender{session: s, end: end}
	in.opened = sync.NewCond(&in.mu)
	return in
}

// connOpening makes send wait for connOpened, so that stdin is sent on the new
// connection, after the size of the window.
func (in *stdinSender) connOpening() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.opening = true
}

// connOpened makes conn the connection on which stdin is sent. The first call
// starts reading stdin, in a goroutine of g.
func (in *stdinSender) connOpened(conn *Conn, g *group.Group) {
	in.mu.Lock()
	start := !in.started && in.session.set.Stdin != nil
	in.started = in.started || start
	in.opening = false
	in.number++
	if conn != in.closed {
		in.conn, in.lastKey = conn, 0
	}
	eof := in.eof
	in.mu.Unlock()
	in.opened.Broadcast()
	switch {
	case eof:
		_ = conn.closeStdin()
	case start:
		g.Go(in.run)
	}
}

// connClosed makes send pass later keys to handleKeys, and reports whether the
// last key before the call was Ctrl-D. It may be called repeatedly, and before
// connOpened.
func (in *stdinSender) connClosed(conn *Conn) (afterCtrlD bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed, in.conn, in.opening = conn, nil, false
	in.opened.Broadcast()
	return in.lastKey == keyCtrlD
}

// stop makes run return after the Read in progress, and reports whether the
// session is to wait for that Read; see Settings.Stdin.
func (in *stdinSender) stop() bool {
	in.mu.Lock()
	in.stopped = true
	in.mu.Unlock()
	stdin, ok := in.session.set.Stdin.(Canceler)
	return !ok || stdin.Cancel()
}

func (in *stdinSender) isStopped() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.stopped
}

// run reads stdin to its end, or until the session cancels it.
func (in *stdinSender) run() {
	buf := make([]byte, headroom+stdinSize)
	for {
		n, err := in.session.set.Stdin.Read(buf[headroom:])
		if n > 0 {
			in.send(buf[:headroom+n])
		}
		switch {
		case in.isStopped():
			return
		case err == nil:
		case errors.Is(err, io.EOF):
			in.sendEOF()
			return
		default: // if the remote's stdin were closed, the input would look complete
			in.end(&InputError{err})
			return
		}
	}
}

// send sends a piece of stdin on the open connection. If the write fails, the
// bytes are lost. send ignores the error, because the goroutine that reads from
// the connection returns the outcome.
func (in *stdinSender) send(buf []byte) {
	in.mu.Lock()
	for in.opening {
		in.opened.Wait()
	}
	conn, number := in.conn, in.number
	in.lastKey = buf[len(buf)-1]
	in.mu.Unlock()
	if conn == nil {
		number = 0
	}
	keys := buf[headroom:]
	if filter := in.session.set.StdinFilter; filter != nil {
		keys = filter.Filter(keys, number)
	}
	switch {
	case conn != nil:
		_ = conn.send(chStdin, append(buf[:headroom], keys...))
	case in.session.set.Interactive:
		in.handleKeys(buf[headroom:])
	}
}

// ErrInterrupted means that the user typed Ctrl-C while no connection was open.
var ErrInterrupted = errors.New("interrupted by Ctrl-C while disconnected")

// handleKeys handles keys while no connection is open.
func (in *stdinSender) handleKeys(keys []byte) {
	switch {
	case bytes.IndexByte(keys, keyCtrlC) >= 0:
		in.end(ErrInterrupted)
	case bytes.IndexByte(keys, keyCtrlD) >= 0:
		in.end(errQuit)
	case bytes.ContainsAny(keys, "\r\n"):
		in.session.tryNow()
	}
}

// sendEOF closes the remote's stdin on the open connection. On later
// connections, connOpened closes the remote's stdin.
func (in *stdinSender) sendEOF() {
	in.mu.Lock()
	conn := in.conn
	in.eof = true
	in.mu.Unlock()
	if conn != nil {
		_ = conn.closeStdin()
	}
}
