package faultproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// conn is a client's connection to the proxy, together with the proxy's
// connection to the server.
//
// run starts the goroutines and waits for them. Fields that a cut changes are
// guarded by mu. Locks are taken in the order Proxy.mu, conn.mu.
type conn struct {
	proxy   *Proxy
	stopped context.Context // canceled when the connection is cut; then no more bytes are forwarded
	stop    context.CancelFunc
	frozen  bool // see freeze; guarded by Proxy.mu

	mu        sync.Mutex
	socks     [2]*net.TCPConn // client at index 0, server at index 1; nil if closed or not yet open
	ended     [2]*Ending      // how a side was cut
	limits    [2]*limit       // remaining bytes, by Direction
	moved     chan struct{}   // 1 slot: tells watchIdle that bytes were delivered
	gone      chan struct{}   // closed when both sides have ended
	abandoned bool            // Close has been called, so nothing is drained
}

const (
	clientSock = 0
	serverSock = 1
)

// newConn requires that the caller holds Proxy.mu.
func newConn(p *Proxy, client *net.TCPConn) *conn {
	c := &conn{proxy: p, moved: make(chan struct{}, 1), gone: make(chan struct{})}
	c.socks[clientSock] = client
	p.limitBuffers(client)
	c.stopped, c.stop = context.WithCancel(p.ctx)
	for dir := range c.limits {
		c.setLimit(Direction(dir), p.faults.limit[dir])
	}
	return c
}

// limitBuffers sets the kernel buffers of a socket to Config.Buffer.
func (p *Proxy) limitBuffers(c *net.TCPConn) {
	if p.buffer > 0 && c != nil {
		_ = errors.Join(c.SetReadBuffer(p.buffer), c.SetWriteBuffer(p.buffer)) // fails only if the socket is closed
	}
}

// openSocks returns the sockets that are open.
func (c *conn) openSocks() (open []*net.TCPConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, sock := range c.socks {
		if sock != nil {
			open = append(open, sock)
		}
	}
	return open
}

func (c *conn) setLimit(dir Direction, l *limit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limits[dir] = nil
	if l != nil {
		own := *l
		c.limits[dir] = &own
	}
}

// run forwards bytes until both directions have ended or the connection is cut.
// After a cut, it waits until both sides have ended or the proxy is closed.
func (c *conn) run() {
	defer c.stop()
	connected := c.connect()
	if connected && c.move() {
		c.abandon()
		return
	}
	if !connected && c.stopped.Err() == nil {
		c.cut(Both, RST) // connecting to the server failed
	}
	select {
	case <-c.gone:
	case <-c.proxy.ctx.Done():
	}
	c.abandon()
	c.drain()
}

// connect waits until no fault prevents a connection, and connects to the
// server. It returns false if the connection is cut first, or if connecting
// fails.
func (c *conn) connect() bool {
	for {
		f, _, changed := c.proxy.state()
		if !f.held[ToServer] && !f.drop && !f.ignore {
			break
		}
		select {
		case <-c.stopped.Done():
			return false
		case <-changed:
		}
	}
	server, err := (&net.Dialer{KeepAlive: -1}).DialContext(c.stopped, "tcp", c.proxy.target)
	if err != nil {
		return false
	}
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped.Err() != nil {
		_ = server.Close()
		return false
	}
	c.socks[serverSock] = server.(*net.TCPConn)
	if c.proxy.faults.drop {
		_ = setDrop(c.socks[serverSock], true) // if this system has no filters, DropPackets has returned the error
	}
	c.proxy.limitBuffers(c.socks[serverSock])
	return true
}

// move forwards bytes in both directions until both directions have ended, and
// watches for idleness. It returns false if the connection was cut.
func (c *conn) move() bool {
	c.mu.Lock()
	client, server := c.socks[clientSock], c.socks[serverSock]
	c.mu.Unlock()
	if client == nil || server == nil {
		return false // the connection was cut before move
	}
	var pipes sync.WaitGroup
	pipes.Go(func() { newPipe(c, ToServer, client, server).run() })
	pipes.Go(func() { newPipe(c, ToClient, server, client).run() })
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { c.watchIdle(over) })
	pipes.Wait()
	close(over)
	watch.Wait()
	return c.stopped.Err() == nil
}

// watchIdle cuts the connection after the idle timeout. It returns when over is
// closed.
func (c *conn) watchIdle(over <-chan struct{}) {
	last := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		f, _, changed := c.proxy.state()
		var expired <-chan time.Time
		if f.idle > 0 {
			timer.Reset(time.Until(last.Add(f.idle)))
			expired = timer.C
		}
		select {
		case <-over:
			return
		case <-changed:
		case <-c.moved:
			last = time.Now()
		case <-expired:
			c.cut(Both, f.idleBy)
			return
		}
	}
}

// passed records delivered bytes.
func (c *conn) passed(dir Direction, n int) {
	c.proxy.mu.Lock()
	c.proxy.bytes[dir] += int64(n)
	c.proxy.mu.Unlock()
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// allowance returns how many of n bytes may pass before the cut, and deducts
// them from the limit.
func (c *conn) allowance(dir Direction, n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.limits[dir]
	if l == nil {
		return n
	}
	n = int(min(int64(n), l.bytes))
	l.bytes -= int64(n)
	return n
}

// exhausted reports whether the limit of the direction is used up, and returns
// how the connection must then be cut.
func (c *conn) exhausted(dir Direction) (Ending, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.limits[dir]; l != nil && l.bytes == 0 {
		return l.by, true
	}
	return 0, false
}

// cut stops forwarding in both directions, and closes the connections of the
// given sides with a FIN or RST.
func (c *conn) cut(who Side, by Ending) {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for side, sock := range c.socks {
		if sock == nil {
			c.markEnded(side, by) // this side was never connected, or is closed
			continue
		}
		if who == Client && side != clientSock || who == Server && side != serverSock {
			interrupt(sock) // ends the pipe, but sends nothing to this side
			continue
		}
		interrupt(sock)
		if c.ended[side] != nil && by == FIN {
			continue
		}
		if by == RST {
			_ = sock.SetLinger(0)
			_ = sock.Close()
			c.socks[side] = nil
		} else {
			_ = sock.CloseWrite()
		}
		c.markEnded(side, by)
	}
}

// freeze stops forwarding, and leaves both sides open. The caller must hold
// Proxy.mu.
func (c *conn) freeze() {
	c.frozen = true
	c.stop()
	for _, sock := range c.openSocks() {
		interrupt(sock)
	}
}

// markEnded records that a side has ended. The caller must hold mu.
func (c *conn) markEnded(side int, by Ending) {
	before := c.ended[clientSock] != nil && c.ended[serverSock] != nil
	c.ended[side] = &by
	if !before && c.ended[clientSock] != nil && c.ended[serverSock] != nil {
		close(c.gone)
	}
}

// interrupt makes reads and writes of a socket return at once.
func interrupt(sock *net.TCPConn) { _ = sock.SetDeadline(time.Unix(1, 0)) }

// abandon closes the sockets, except those that drain must read.
func (c *conn) abandon() {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abandoned = c.abandoned || c.proxy.ctx.Err() != nil
	for side, sock := range c.socks {
		if sock == nil {
			continue
		}
		if c.abandoned || c.ended[side] == nil {
			_ = sock.Close()
			c.socks[side] = nil
		}
	}
}

// drain reads and discards what arrives from a side that was ended by FIN, and
// then closes the socket. It does that because closing a socket with unread
// bytes would send an RST.
func (c *conn) drain() {
	c.mu.Lock()
	var closing []*net.TCPConn
	for _, sock := range c.socks {
		if sock != nil && !c.abandoned {
			_ = sock.SetDeadline(time.Time{})
			closing = append(closing, sock)
		}
	}
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, sock := range closing {
		wg.Go(func() { _, _ = io.Copy(io.Discard, sock) })
	}
	wg.Wait()
	for _, sock := range closing {
		_ = sock.Close()
	}
}
