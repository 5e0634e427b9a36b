package sandbox

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// listener keeps a list of the connections that it accepted, so that they can
// be closed.
type listener struct {
	net.Listener
	closed func() error
	hello  func() // called when the first bytes of a connection have arrived; may be nil

	mu       sync.Mutex
	conns    map[*rawConn]struct{}
	accepted int
	refusing int // number of calls of Down whose result, the function up, was not called yet
}

// rawConn is a TCP connection, below TLS.
type rawConn struct {
	net.Conn
	ln   *listener
	once sync.Once
	said sync.Once     // calls hello
	gone chan struct{} // closed by Close
}

func newListener(inner net.Listener) *listener {
	return &listener{Listener: inner, closed: sync.OnceValue(inner.Close), conns: map[*rawConn]struct{}{}}
}

// Close may be called more than once.
func (l *listener) Close() error { return l.closed() }

// Accept resets connections while Down is in effect, and does not return them.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		rc := &rawConn{Conn: c, ln: l, gone: make(chan struct{})}
		l.mu.Lock()
		l.accepted++
		refuse := l.refusing > 0
		if !refuse {
			l.conns[rc] = struct{}{}
		}
		l.mu.Unlock()
		if !refuse {
			return rc, nil
		}
		rc.reset()
	}
}

func (l *listener) connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted
}

func (l *listener) dropAll(reset bool) {
	l.mu.Lock()
	var conns []*rawConn
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		if reset {
			c.reset()
		} else {
			_ = c.Close()
		}
	}
}

func (l *listener) down() (up func()) {
	l.mu.Lock()
	l.refusing++
	l.mu.Unlock()
	l.dropAll(true)
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refusing--
	})
}

// Read implements io.Reader.
func (c *rawConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.ln.hello != nil {
		c.said.Do(c.ln.hello)
	}
	return n, err
}

// Close may be called more than once.
func (c *rawConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		close(c.gone)
		c.ln.mu.Lock()
		defer c.ln.mu.Unlock()
		delete(c.ln.conns, c)
	})
	return err
}

// reset closes the connection, with an RST if it is TCP.
func (c *rawConn) reset() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // fails only if the connection is closed
	}
	_ = c.Close()
}

// fin sends a FIN and leaves the other direction open. A connection that is not
// TCP is closed.
func (c *rawConn) fin() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.CloseWrite()
		return
	}
	_ = c.Close()
}

// shrink sets the size of the kernel's send buffer, in bytes.
func (c *rawConn) shrink(size int) {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetWriteBuffer(size) // an optimization that may fail
	}
}

func (c *rawConn) isTCP() bool {
	_, ok := c.Conn.(*net.TCPConn)
	return ok
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// rawConnOf returns the connection of a request.
func rawConnOf(r *http.Request) *rawConn {
	c, _ := r.Context().Value(connKey{}).(*rawConn)
	return c
}
