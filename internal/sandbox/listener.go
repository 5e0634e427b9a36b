package sandbox

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// listener knows every connection that it accepted, so that they can be dropped.
type listener struct {
	net.Listener
	closed func() error

	mu       sync.Mutex
	conns    map[*rawConn]struct{}
	accepted int
	refusing int // how many Downs are in force
}

// rawConn is a connection below TLS.
type rawConn struct {
	net.Conn
	ln   *listener
	once sync.Once
	gone chan struct{} // closed when the sandbox has closed it
}

func newListener(inner net.Listener) *listener {
	return &listener{Listener: inner, closed: sync.OnceValue(inner.Close), conns: map[*rawConn]struct{}{}}
}

// Close may be called again.
func (l *listener) Close() error { return l.closed() }

// Accept hides refused connections from its caller.
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

// Close may be called again.
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

// reset closes with an RST where there is such a thing.
func (c *rawConn) reset() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // fails only if it is closed already
	}
	_ = c.Close()
}

// fin sends a FIN and leaves the other direction open; without TCP it closes.
func (c *rawConn) fin() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.CloseWrite()
		return
	}
	_ = c.Close()
}

// shrink makes the kernel hold less of what is sent, in bytes.
func (c *rawConn) shrink(size int) {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetWriteBuffer(size) // a wish
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

// rawOf is the connection that a request came on.
func rawOf(r *http.Request) *rawConn {
	c, _ := r.Context().Value(connKey{}).(*rawConn)
	return c
}
