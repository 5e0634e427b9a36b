package faultproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// conn is one client and its connection to the server.
//
// run owns the goroutines; what a cut may change from outside is under mu. Locks are taken in the order Proxy.mu, conn.mu.
type conn struct {
	proxy   *Proxy
	stopped context.Context // ends when the connection is cut: nothing is moved any more
	stop    context.CancelFunc

	mu     sync.Mutex
	socks  [2]*net.TCPConn // by Side: client at index 0, server at index 1; nil when closed or not there yet
	ended  [2]*Ending      // how a side was cut
	limits [2]*limit       // what may still pass, by Direction
	moved  chan struct{}   // one slot: bytes have passed, for the idle timeout
	gone   chan struct{}   // closed when both sides are ended
	left   bool            // abandoned by Close
}

const (
	clientSock = 0
	serverSock = 1
)

// newConn is called with Proxy.mu held.
func newConn(p *Proxy, client *net.TCPConn) *conn {
	c := &conn{proxy: p, moved: make(chan struct{}, 1), gone: make(chan struct{})}
	c.socks[clientSock] = client
	p.bound(client)
	c.stopped, c.stop = context.WithCancel(p.ctx)
	for dir := range c.limits {
		c.setLimit(Direction(dir), p.faults.limit[dir])
	}
	return c
}

// bound keeps the kernel from holding more than the network would.
func (p *Proxy) bound(c *net.TCPConn) {
	if p.buffer > 0 && c != nil {
		_ = errors.Join(c.SetReadBuffer(p.buffer), c.SetWriteBuffer(p.buffer)) // a socket that is gone holds nothing
	}
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

// run moves bytes until both directions have ended or the connection is cut. After a cut it stays until both sides know, or the
// proxy is closed.
func (c *conn) run() {
	defer c.stop()
	connected := c.connect()
	if connected && c.move() {
		c.abandon()
		return
	}
	if !connected && c.stopped.Err() == nil {
		c.cut(Both, RST) // no server
	}
	select {
	case <-c.gone:
	case <-c.proxy.ctx.Done():
	}
	c.abandon()
	c.drain()
}

// connect waits until the network lets something through to the server, and then connects to it.
func (c *conn) connect() bool {
	for {
		f, _, changed := c.proxy.state()
		if !f.held[ToServer] && !f.deaf {
			break
		}
		select {
		case <-c.stopped.Done():
			return false
		case <-changed:
		}
	}
	server, err := (&net.Dialer{}).DialContext(c.stopped, "tcp", c.proxy.target)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped.Err() != nil {
		_ = server.Close()
		return false
	}
	c.socks[serverSock] = server.(*net.TCPConn)
	c.proxy.bound(c.socks[serverSock])
	return true
}

// move moves bytes both ways and watches for idleness until all is over. It says whether both directions ended by themselves.
func (c *conn) move() bool {
	c.mu.Lock()
	client, server := c.socks[clientSock], c.socks[serverSock]
	c.mu.Unlock()
	if client == nil || server == nil {
		return false // cut already
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

// watchIdle cuts the connection when nothing has moved for as long as the idle timeout says.
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

// passed notes bytes that were delivered.
func (c *conn) passed(dir Direction, n int) {
	c.proxy.mu.Lock()
	c.proxy.bytes[dir] += int64(n)
	c.proxy.mu.Unlock()
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// allowance returns how many of n bytes may pass before the connection is cut, and takes them.
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

// exhausted returns how to cut the connection when nothing may pass in that direction any more.
func (c *conn) exhausted(dir Direction) (Ending, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.limits[dir]; l != nil && l.bytes == 0 {
		return l.by, true
	}
	return 0, false
}

// cut stops all movement and ends the sides that are to know.
func (c *conn) cut(who Side, by Ending) {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for side, sock := range c.socks {
		if sock == nil {
			c.settle(side, by) // never connected: nobody to tell
			continue
		}
		if who == Client && side != clientSock || who == Server && side != serverSock {
			past(sock) // wakes its pipe, says nothing to the other end
			continue
		}
		past(sock)
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
		c.settle(side, by)
	}
}

// settle notes that a side has been ended, with mu held.
func (c *conn) settle(side int, by Ending) {
	before := c.ended[clientSock] != nil && c.ended[serverSock] != nil
	c.ended[side] = &by
	if !before && c.ended[clientSock] != nil && c.ended[serverSock] != nil {
		close(c.gone)
	}
}

// past makes reads and writes of a socket return at once.
func past(sock *net.TCPConn) { _ = sock.SetDeadline(time.Unix(1, 0)) }

// abandon is the end of it all: sockets that are not drained are closed.
func (c *conn) abandon() {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = c.left || c.proxy.ctx.Err() != nil
	for side, sock := range c.socks {
		if sock == nil {
			continue
		}
		if c.left || c.ended[side] == nil {
			_ = sock.Close()
			c.socks[side] = nil
		}
	}
}

// drain reads away what still comes from a side that was ended by FIN: closing a socket that has unread bytes would reset it.
func (c *conn) drain() {
	c.mu.Lock()
	var politely []*net.TCPConn
	for _, sock := range c.socks {
		if sock != nil && !c.left {
			_ = sock.SetDeadline(time.Time{})
			politely = append(politely, sock)
		}
	}
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, sock := range politely {
		wg.Go(func() { _, _ = io.Copy(io.Discard, sock) })
	}
	wg.Wait()
	for _, sock := range politely {
		_ = sock.Close()
	}
}
