package stream

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"kshell/internal/group"
)

// stdinSize is the payload of one stdin message, in bytes. Larger ones gain
// little (64 KiB: 8 %), smaller ones cost.
const stdinSize = 32 << 10

// The keys with a meaning while no socket is open.
const (
	keyCtrlC = 0x03
	keyCtrlD = 0x04
)

// InputError means that stdin could not be read to its end. The stdin of the
// remote process is not closed.
type InputError struct{ Err error }

func (e *InputError) Error() string { return "cannot read the input: " + e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// pump reads the session's stdin. It starts with the first socket and continues
// until the end of the session.
type pump struct {
	session *Session
	end     func(error) // ends the session with a cause

	mu      sync.Mutex
	opened  *sync.Cond // on mu: opening has become false
	opening bool       // conn is about to be set: keys wait for it
	started bool       // copy was started
	conn    *Conn      // the open socket, or nil
	number  int        // the number of sockets opened so far
	past    *Conn      // the last closed socket
	ended   bool       // stdin has ended
	over    bool       // the session has ended
	last    byte       // the last byte of stdin
}

func newPump(s *Session, end func(error)) *pump {
	p := &pump{session: s, end: end}
	p.opened = sync.NewCond(&p.mu)
	return p
}

// connected makes stdin wait for open: it is to be sent on the new socket,
// whose first message must be the size.
func (p *pump) connected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opening = true
}

// open makes conn the socket on which stdin is sent. The first call starts
// reading stdin.
func (p *pump) open(conn *Conn, c *group.Group) {
	p.mu.Lock()
	start := !p.started && p.session.set.Stdin != nil
	p.started = p.started || start
	p.opening = false
	p.number++
	if conn != p.past {
		p.conn, p.last = conn, 0
	}
	ended := p.ended
	p.mu.Unlock()
	p.opened.Broadcast()
	switch {
	case ended:
		_ = conn.closeStdin()
	case start:
		c.Go(p.copy)
	}
}

// closed makes kshell handle later keys itself (see offline), and reports
// whether the last key before was Ctrl-D. It may be called repeatedly, and
// before open.
func (p *pump) closed(conn *Conn) (leaving bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past, p.conn, p.opening = conn, nil, false
	p.opened.Broadcast()
	return p.last == keyCtrlD
}

// stop makes copy return after its current Read, and reports whether that Read
// returns.
func (p *pump) stop() bool {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	stdin, ok := p.session.set.Stdin.(Canceler)
	return !ok || stdin.Cancel()
}

func (p *pump) isOver() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

// copy reads stdin to its end, or until the session cancels it.
func (p *pump) copy() {
	buf := make([]byte, headroom+stdinSize)
	for {
		n, err := p.session.set.Stdin.Read(buf[headroom:])
		if n > 0 {
			p.take(buf[:headroom+n])
		}
		switch {
		case p.isOver():
			return
		case err == nil:
		case errors.Is(err, io.EOF):
			p.finish()
			return
		default: // do not close the remote's stdin: it must not take a part for the whole
			p.end(&InputError{err})
			return
		}
	}
}

// take sends stdin on the live socket. It ignores a write error, with which the
// bytes are lost: the reader of the socket returns the outcome.
func (p *pump) take(buf []byte) {
	p.mu.Lock()
	for p.opening {
		p.opened.Wait()
	}
	conn, number := p.conn, p.number
	p.last = buf[len(buf)-1]
	p.mu.Unlock()
	if conn == nil {
		number = 0
	}
	keys := buf[headroom:]
	if filter := p.session.set.StdinFilter; filter != nil {
		keys = filter.Filter(keys, number)
	}
	switch {
	case conn != nil:
		_ = conn.send(chStdin, append(buf[:headroom], keys...))
	case p.session.set.Interactive:
		p.offline(buf[headroom:])
	}
}

// offline handles keys while no socket is open.
func (p *pump) offline(keys []byte) {
	switch {
	case bytes.IndexByte(keys, keyCtrlC) >= 0 || bytes.IndexByte(keys, keyCtrlD) >= 0:
		p.end(errQuit)
	case bytes.ContainsAny(keys, "\r\n"):
		p.session.tryNow()
	}
}

func (p *pump) finish() {
	p.mu.Lock()
	conn := p.conn
	p.ended = true
	p.mu.Unlock()
	if conn != nil {
		_ = conn.closeStdin()
	}
}
