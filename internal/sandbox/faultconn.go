package sandbox

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/remotecommand"
)

// lingerFor bounds how long a closed socket stays half open in the gentle mode and after a FIN.
const lingerFor = 2 * time.Second

// frameBuffer holds the largest frame that the server sends by itself (base64 of 32 KiB), so that each is one write.
const frameBuffer = 64 << 10

// Opcodes of frames.
const (
	opClose = 0x8
	opPong  = 0xA
)

// hijacker hands a faultConn to whoever hijacks the connection.
type hijacker struct {
	http.ResponseWriter
	srv  *Server
	r    *http.Request
	f    *active
	conn *faultConn // set by Hijack
}

func newHijacker(s *Server, w http.ResponseWriter, r *http.Request, f *active) *hijacker {
	return &hijacker{ResponseWriter: w, srv: s, r: r, f: f}
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, brw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, _ := brw.Peek(brw.Reader.Buffered()) // what is buffered is there
	h.conn = &faultConn{
		Conn: c, raw: rawOf(h.r), srv: h.srv, r: h.r, f: h.f, early: bytes.Clone(early),
		fired: make(chan struct{}), closed: make(chan struct{}),
	}
	rw := bufio.NewReadWriter(bufio.NewReaderSize(h.conn, frameBuffer), bufio.NewWriterSize(h.conn, frameBuffer))
	return h.conn, rw, nil
}

// faultConn is the TLS connection of one WebSocket. Without a fault it only passes bytes on. Reads come from one
// goroutine, writes from one at a time: the WebSocket layer sees to that.
type faultConn struct {
	net.Conn
	raw *rawConn
	srv *Server
	r   *http.Request
	f   *active

	// of the reader
	early    []byte
	received int64

	// of the writer
	upgraded bool // the answer was 101, and is out
	sent     int64
	payload  int  // bytes of the present frame that are still to come
	drop     bool // the present frame is dropped

	fired  chan struct{} // closed when the fault acts on the socket
	closed chan struct{} // closed by the last Close

	mu         sync.Mutex
	link       *link // nil: straight to the socket
	acted      bool
	muted      bool // only a Status and a close frame get through
	polite     bool // half closed at first, whatever the mode
	halfClosed bool
	isClosed   bool
	linger     bool
	stallRead  bool
	stallWrite bool
	cut        bool
}

func (c *faultConn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	if c.f.at(AfterReceived) && !c.hasActed() {
		left := c.f.N - c.received
		if left <= 0 {
			c.act()
		} else {
			p = p[:min(int64(len(p)), left)]
		}
	}
	if c.is(&c.stallRead) {
		<-c.raw.gone
		return 0, errFault
	}
	n, err := c.Conn.Read(p)
	if n > 0 && c.f != nil && c.f.LateReset && c.is(&c.halfClosed) {
		c.reset()
		return 0, errFault
	}
	for c.is(&c.cut) && err == nil { // after a FIN: nobody hears what still comes
		n, err = c.Conn.Read(p)
	}
	c.received += int64(n)
	return n, err
}

func (c *faultConn) Write(p []byte) (int, error) {
	total := len(p)
	if !c.upgraded {
		c.upgraded = bytes.HasPrefix(p, []byte("HTTP/1.1 101 "))
		if _, err := c.Conn.Write(p); err != nil {
			return 0, err
		}
		if c.upgraded {
			c.openLink()
		}
		if c.upgraded && c.f.at(AfterSent) && c.f.N == 0 {
			c.act()
		}
		return total, nil
	}
	if c.payload == 0 {
		if c.f.at(AfterSent) && c.f.Do == SaySuccess && c.sent >= c.f.N {
			c.act()
		}
		c.frame(p)
	}
	c.payload -= min(len(p), c.payload)
	if c.drop {
		return total, nil
	}
	if c.f.at(AfterSent) && c.f.Do != SaySuccess && !c.hasActed() && c.sent+int64(len(p)) > c.f.N {
		head := p[:c.f.N-c.sent]
		if err := c.pass(head); err != nil {
			return 0, err
		}
		c.act()
		p = p[len(head):]
	}
	if err := c.pass(p); err != nil {
		return 0, err
	}
	return total, nil
}

// pass lets bytes through, unless the fault has acted.
func (c *faultConn) pass(p []byte) error {
	if c.is(&c.stallWrite) {
		<-c.raw.gone
		return errFault
	}
	if c.is(&c.linger) || c.is(&c.halfClosed) {
		return nil // nobody hears it; an error would end the reader, too
	}
	if c.is(&c.cut) {
		return errFault
	}
	n, err := c.way().Write(p)
	c.sent += int64(n)
	return err
}

// way is where bytes to the client go.
func (c *faultConn) way() io.Writer {
	if l := c.onLink(); l != nil {
		return l
	}
	return c.Conn
}

func (c *faultConn) onLink() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// openLink puts a link before the socket if the fault needs one. A connection that is not TCP has none.
func (c *faultConn) openLink() {
	if c.f == nil || c.f.Rate == 0 && !c.f.LateReset && c.f.StatusDeadline == 0 || !c.raw.isTCP() {
		return
	}
	c.raw.shrink(kernelBuffer)
	l := newLink(c.Conn, c.f.Rate, c.raw.gone)
	c.mu.Lock()
	c.link = l
	c.mu.Unlock()
	go l.run() // finish waits for it
}

// takenWithin waits until all that was sent is with the client, or resets the connection.
func (c *faultConn) takenWithin(d time.Duration) {
	if l := c.onLink(); l != nil && !l.drained(d) {
		c.reset()
	}
}

// reset resets the connection, and loses what is in flight.
func (c *faultConn) reset() {
	if l := c.onLink(); l != nil {
		l.destroy()
	}
	c.raw.reset()
}

// frame looks at the header of a frame that begins at p. Server frames are not masked, and p holds the header whole.
func (c *faultConn) frame(p []byte) {
	if len(p) < 2 {
		return
	}
	header, size := 2, int(p[1])
	switch {
	case size == 126 && len(p) >= 4:
		header, size = 4, int(p[2])<<8|int(p[3])
	case size == 127 && len(p) >= 10:
		header, size = 10, 0
		for _, b := range p[2:10] {
			size = size<<8 | int(b)
		}
	}
	c.payload = header + size
	c.drop = c.f != nil && c.f.DropPongs && p[0]&0xF == opPong || c.is(&c.muted) && !final(p, header)
	if c.f != nil && c.f.Delay > 0 && !c.drop {
		select {
		case <-time.After(c.f.Delay):
		case <-c.raw.gone:
		}
	}
}

// final says whether a frame is of channel 3 or the close frame.
func final(p []byte, header int) bool {
	return p[0]&0xF == opClose || len(p) > header && (p[header] == remotecommand.StreamErr || p[header] == '0'+remotecommand.StreamErr)
}

func (c *faultConn) is(flag *bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *flag
}

func (c *faultConn) hasActed() bool { return c.is(&c.acted) }

// act does the fault's action, once. What has to be said in WebSocket terms is left to whoever watches fired.
func (c *faultConn) act() {
	c.mu.Lock()
	if c.acted {
		c.mu.Unlock()
		return
	}
	c.acted = true
	switch c.f.Do {
	case FIN:
		c.cut, c.linger = true, true
	case RST:
		c.cut = true
	case Hang:
		c.stallRead, c.stallWrite = true, true
	case StallRead:
		c.stallRead = true
	case StallWrite:
		c.stallWrite = true
	case SaySuccess:
		c.muted, c.polite = true, true
	}
	c.mu.Unlock()
	switch c.f.Do {
	case FIN:
		if l := c.onLink(); l != nil {
			l.finish(c.raw.fin)
		} else {
			c.raw.fin()
		}
	case RST:
		c.reset()
	case KillPod:
		c.srv.start(func() { c.f.killPod(c.srv, c.r) })
	case DropAll:
		c.srv.start(c.srv.Restart)
	}
	close(c.fired)
}

// bePolite makes sure that what was said gets through whatever the client still sends.
func (c *faultConn) bePolite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.polite = true
}

// Close closes. In the gentle mode, after a FIN, after a lie and on a link the first call only ends our direction, and the
// reader has to go on until it meets the client's end or the deadline; its own Close is then the second.
func (c *faultConn) Close() error {
	c.mu.Lock()
	kind := c.linger || c.polite || c.link != nil || c.srv.cfg.Gentle && c.upgraded
	half := kind && !c.halfClosed && !c.isClosed && c.raw.isTCP()
	c.halfClosed = true
	if half {
		l, cut := c.link, c.linger
		c.mu.Unlock()
		if l == nil {
			c.endWriting()
			return nil
		}
		l.finish(func() {
			if cut {
				c.raw.fin() // nothing more, not even a close_notify
			}
			c.endWriting()
		})
		return nil
	}
	last := !c.isClosed
	c.isClosed = true
	c.mu.Unlock()
	if last {
		defer close(c.closed)
	}
	if !c.raw.isTCP() {
		return c.raw.Close()
	}
	return c.Conn.Close()
}

// endWriting ends our direction and gives the client some time to end its own.
func (c *faultConn) endWriting() {
	_ = c.SetReadDeadline(time.Now().Add(lingerFor))
	if t, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = t.CloseWrite()
	}
	c.raw.fin()
}

// SetDeadline leaves the deadline of a half-closed connection alone: the WebSocket layer would move it with each message.
func (c *faultConn) SetDeadline(t time.Time) error {
	if c.is(&c.halfClosed) {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

// finish waits for the last Close.
func (c *faultConn) finish() {
	<-c.closed
	if l := c.onLink(); l != nil {
		l.destroy()
		<-l.done
	}
}
