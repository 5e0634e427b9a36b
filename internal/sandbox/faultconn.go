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

// lingerTimeout is how long the server still reads from a client after it has
// ended the direction to the client (see faultConn.Close).
const lingerTimeout = 2 * time.Second

// frameBuffer is the size of the read and write buffers, in bytes. The largest
// frame that the server sends (base64 of 32 KiB) fits, so that each frame is one
// write.
const frameBuffer = 64 << 10

// Opcodes of WebSocket frames.
const (
	opClose = 0x8
	opPong  = 0xA
)

// hijacker is an http.ResponseWriter whose Hijack returns a faultConn.
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
	buffered, _ := brw.Peek(brw.Reader.Buffered()) // Peek cannot fail for buffered bytes
	h.conn = &faultConn{
		Conn: c, raw: rawConnOf(h.r), srv: h.srv, r: h.r, f: h.f, buffered: bytes.Clone(buffered),
		fired: make(chan struct{}), closed: make(chan struct{}),
	}
	rw := bufio.NewReadWriter(bufio.NewReaderSize(h.conn, frameBuffer), bufio.NewWriterSize(h.conn, frameBuffer))
	return h.conn, rw, nil
}

// faultConn is the TLS connection of a WebSocket or of SPDY. Without a fault it
// only passes bytes on. As the WebSocket layer ensures, one goroutine reads,
// and at most one at a time writes.
type faultConn struct {
	net.Conn
	raw *rawConn
	srv *Server
	r   *http.Request
	f   *active

	// For the goroutine that reads:
	buffered []byte
	received int64

	// For the goroutine that writes:
	upgraded bool // the answer was 101, and has been sent
	sent     int64
	payload  int  // remaining bytes of the current frame
	drop     bool // the current frame is discarded

	fired  chan struct{} // closed when the fault acts
	closed chan struct{} // closed when Close has closed both directions

	mu         sync.Mutex
	link       *link // nil: write directly to the socket
	acted      bool
	statusOnly bool // only the Status and the close frame are sent
	halfCloses bool // the first Close only ends the direction to the client
	halfClosed bool
	isClosed   bool
	linger     bool // a FIN was sent; incoming bytes are read and discarded
	stallRead  bool
	stallWrite bool
	cut        bool // no more bytes are sent
}

func (c *faultConn) Read(p []byte) (int, error) {
	c.srv.steps.Load().awaitOutput(c.srv.ctx)
	if len(c.buffered) > 0 {
		n := copy(p, c.buffered)
		c.buffered = c.buffered[n:]
		return n, nil
	}
	if c.f.actsAt(AfterReceived) && !c.hasActed() {
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
	for c.is(&c.cut) && err == nil { // after a FIN: discard what arrives
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
		if c.upgraded && c.f.actsAt(AfterSent) && c.f.N == 0 {
			c.act()
		}
		return total, nil
	}
	c.srv.steps.Load().sent(c.srv.ctx, p)
	if c.payload == 0 {
		if c.f.actsAt(AfterSent) && c.f.Do == SaySuccess && c.sent >= c.f.N {
			c.act()
		}
		c.startFrame(p)
	}
	c.payload -= min(len(p), c.payload)
	if c.drop {
		return total, nil
	}
	if c.f.actsAt(AfterSent) && c.f.Do != SaySuccess && !c.hasActed() && c.sent+int64(len(p)) > c.f.N {
		head := p[:c.f.N-c.sent]
		if err := c.writeOrDrop(head); err != nil {
			return 0, err
		}
		c.act()
		p = p[len(head):]
	}
	if err := c.writeOrDrop(p); err != nil {
		return 0, err
	}
	return total, nil
}

// writeOrDrop writes p to the client. If the direction to the client has ended,
// it discards p. After an RST, it returns an error. After StallWrite or Hang,
// it waits for the end of the connection.
func (c *faultConn) writeOrDrop(p []byte) error {
	if c.is(&c.stallWrite) {
		<-c.raw.gone
		return errFault
	}
	if c.is(&c.linger) || c.is(&c.halfClosed) {
		return nil // discard p, because an error would end the reader, too
	}
	if c.is(&c.cut) {
		return errFault
	}
	n, err := c.output().Write(p)
	c.sent += int64(n)
	return err
}

// output returns the writer for bytes to the client.
func (c *faultConn) output() io.Writer {
	if l := c.currentLink(); l != nil {
		return l
	}
	return c.Conn
}

func (c *faultConn) currentLink() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// openLink puts a link in front of the socket if the fault needs one and the
// connection is TCP.
func (c *faultConn) openLink() {
	if c.f == nil || c.f.Rate == 0 && !c.f.LateReset && c.f.StatusDeadline == 0 || !c.raw.isTCP() {
		return
	}
	c.raw.shrink(kernelBuffer)
	l := newLink(c.Conn, c.f.Rate, c.raw.gone)
	c.mu.Lock()
	c.link = l
	c.mu.Unlock()
	go l.run() // c.finish waits for its end
}

// resetUnlessDelivered waits until the client's kernel has received everything
// that was sent. If that takes longer than d, it resets the connection.
func (c *faultConn) resetUnlessDelivered(d time.Duration) {
	if l := c.currentLink(); l != nil && !l.drained(d) {
		c.reset()
	}
}

// reset resets the connection and discards what is in flight.
func (c *faultConn) reset() {
	if l := c.currentLink(); l != nil {
		l.destroy()
	}
	c.raw.reset()
}

// startFrame parses the header of the frame that begins at p, decides whether
// the frame is discarded, and waits for Fault.Delay. Frames of a server are not
// masked, and p contains the whole header.
func (c *faultConn) startFrame(p []byte) {
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
	c.drop = c.f != nil && c.f.DropPongs && p[0]&0xF == opPong || c.is(&c.statusOnly) && !isFinal(p, header)
	if c.f != nil && c.f.Delay > 0 && !c.drop {
		select {
		case <-time.After(c.f.Delay):
		case <-c.raw.gone:
		}
	}
}

// isFinal reports whether a frame is on channel 3 or is the close frame.
func isFinal(p []byte, header int) bool {
	return p[0]&0xF == opClose ||
		len(p) > header && (p[header] == remotecommand.StreamErr || p[header] == '0'+remotecommand.StreamErr)
}

func (c *faultConn) is(flag *bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *flag
}

func (c *faultConn) hasActed() bool { return c.is(&c.acted) }

// act performs the fault's action, once. session.watchFault performs the part
// that needs WebSocket messages.
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
		c.statusOnly, c.halfCloses = true, true
	}
	c.mu.Unlock()
	switch c.f.Do {
	case FIN:
		if l := c.currentLink(); l != nil {
			l.finish(c.raw.fin)
		} else {
			c.raw.fin()
		}
	case RST:
		c.reset()
	case KillPod:
		c.srv.start(func() { c.f.killPod(c.srv, c.r) })
	case RotateLog, DeleteLog:
		c.f.loseLogs(c.srv, c.r)
	case DropAll:
		c.srv.start(c.srv.Restart)
	}
	close(c.fired)
}

// halfCloseFirst makes the first Close end only the direction to the client,
// because bytes that the client still sends would otherwise destroy the bytes
// in flight to the client.
func (c *faultConn) halfCloseFirst() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halfCloses = true
}

// Close closes the connection. The first call ends only the direction to the
// client if Config.Gentle is set, if the fault's action was FIN or SaySuccess,
// or if there is a link. Then the reader must read until the client has ended
// its direction or the deadline of endWriting has passed, and call Close again.
func (c *faultConn) Close() error {
	c.mu.Lock()
	kind := c.linger || c.halfCloses || c.link != nil || c.srv.cfg.Gentle && c.upgraded
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
				c.raw.fin() // without a close_notify
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

// endWriting ends the direction to the client, and sets a deadline for the end
// of the other direction.
func (c *faultConn) endWriting() {
	_ = c.SetReadDeadline(time.Now().Add(lingerTimeout))
	if t, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = t.CloseWrite()
	}
	c.raw.fin()
}

// SetDeadline does nothing on a half-closed connection, because the WebSocket
// layer calls it at each message and would extend the deadline that endWriting
// has set.
func (c *faultConn) SetDeadline(t time.Time) error {
	if c.is(&c.halfClosed) {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

// abandon closes both directions of a connection whose upgrade has failed.
func (c *faultConn) abandon() {
	_ = c.Close() // closes at least the direction to the client
	_ = c.Close() // closes the other direction, if it is still open
	c.finish()
}

// finish waits until Close has closed both directions, and then ends the link.
func (c *faultConn) finish() {
	<-c.closed
	if l := c.currentLink(); l != nil {
		l.destroy()
		<-l.done
	}
}
