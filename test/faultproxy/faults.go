package faultproxy

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// change changes the faults and notifies the goroutines that depend on them.
func (p *Proxy) change(f func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.faults)
	close(p.changed)
	p.changed = make(chan struct{})
}

// Delay delays all bytes of a direction, without limiting their rate. If d is
// 0, it ends the delay. The proxy holds up to about 1 MiB per connection, in
// addition to the buffers of the kernel. When these are full, the sender
// blocks.
func (p *Proxy) Delay(dir Direction, d time.Duration) {
	p.change(func(f *faults) { f.delay[dir] = d })
}

// Rate limits the bytes per second of each connection. 0 means no limit.
func (p *Proxy) Rate(dir Direction, bytesPerSecond int) {
	p.change(func(f *faults) { f.rate[dir] = max(0, bytesPerSecond) })
}

// BlackHole holds all bytes and all ends of connections (FIN, RST) in that
// direction, and notifies neither side. While ToServer is held, the proxy
// accepts new clients, but does not connect to the server for them. When the
// black hole is switched off, the held bytes are delivered.
func (p *Proxy) BlackHole(dir Direction, on bool) {
	p.change(func(f *faults) { f.held[dir] = on })
}

// DropPackets drops all packets that arrive at the proxy, from both sides,
// including those that would open a connection. The proxy holds the bytes that
// it has already received. Unlike with BlackHole, the kernels of the client and
// the server get no acknowledgements, and send their bytes again at growing
// intervals. So it may take some time after the end of the fault until bytes
// arrive. DropPackets works only on Linux. If DropPackets(true) returns an
// error, it has no effect.
func (p *Proxy) DropPackets(on bool) error {
	if on {
		p.change(func(f *faults) { f.drop = true })
		p.waitAcknowledged()
	}
	var failed error
	p.change(func(f *faults) {
		f.drop = on
		if failed = p.setDrop(on); failed != nil && on {
			f.drop = false
			_ = p.setDrop(false) // the first error is returned
		}
	})
	return failed
}

// DropOpen drops all packets of the connections that are open when it is called,
// like a firewall that has deleted their state. These connections forward
// nothing more, and drop packets until they are closed, even after
// DropPackets(false) and Heal. New connections are not affected. DropOpen works
// only on Linux.
func (p *Proxy) DropOpen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var socks []*net.TCPConn
	for c := range p.conns {
		c.freeze()
		socks = append(socks, c.openSocks()...)
	}
	end := time.Now().Add(ackTimeout)
	var failed []error
	for _, sock := range socks {
		waitAcknowledged(sock, end)
		if err := setDrop(sock, true); !errors.Is(err, net.ErrClosed) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// ackTimeout is how long DropPackets and DropOpen wait for the acknowledgement
// of the bytes that the proxy has already sent.
const ackTimeout = 200 * time.Millisecond

// waitAcknowledged waits until the bytes that the proxy has sent are
// acknowledged. If a receiver does not read, they may never be.
func (p *Proxy) waitAcknowledged() {
	p.mu.Lock()
	var socks []*net.TCPConn
	for c := range p.conns {
		socks = append(socks, c.openSocks()...)
	}
	p.mu.Unlock()
	end := time.Now().Add(ackTimeout)
	for _, sock := range socks {
		waitAcknowledged(sock, end)
	}
}

// setDrop makes the sockets of the proxy drop all packets if on is set, and
// accept them otherwise. The caller must hold mu.
func (p *Proxy) setDrop(on bool) error {
	var failed []error
	if !p.faults.refuse && !p.closed {
		failed = append(failed, setDrop(p.listener, on))
	}
	for c := range p.conns {
		if !on && c.frozen {
			continue
		}
		for _, sock := range c.openSocks() {
			if err := setDrop(sock, on); !errors.Is(err, net.ErrClosed) {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}

// IdleTimeout cuts a connection that was idle in both directions for d, as load
// balancers and firewalls do. 0 means never.
func (p *Proxy) IdleTimeout(d time.Duration, by Ending) {
	p.change(func(f *faults) { f.idle, f.idleBy = d, by })
}

// CutAfter cuts each connection, on both sides, after exactly n more bytes in
// that direction: counted from now for existing connections, and from the start
// for new ones. A negative n ends the fault. All n bytes arrive before a FIN.
// An RST destroys the bytes that have not yet reached the kernel of the
// receiver. If the receiver reads all bytes as they arrive, no bytes are
// destroyed.
func (p *Proxy) CutAfter(dir Direction, n int64, by Ending) {
	p.change(func(f *faults) {
		f.limit[dir] = nil
		if n >= 0 {
			f.limit[dir] = &limit{bytes: n, by: by}
		}
		for c := range p.conns {
			c.setLimit(dir, f.limit[dir])
		}
	})
}

// Cut cuts all open connections, and returns their number. Held bytes are lost.
// A side that did not see the first cut can be cut by a second call.
//
// An RST destroys the bytes that have not yet reached the kernel of the
// receiver. The bytes that the kernel already has are kept: the receiver can
// still read them.
func (p *Proxy) Cut(who Side, by Ending) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.cut(who, by)
	}
	return len(p.conns)
}

// StopAccepting makes the proxy stop accepting connections if on is true. The
// kernel still completes the TCP handshake of new clients, but they get no data.
// If on is false, the waiting clients are accepted.
func (p *Proxy) StopAccepting(on bool) {
	p.change(func(f *faults) {
		f.ignore = on
		// A deadline in the past interrupts Accept.
		deadline := time.Time{}
		if on {
			deadline = time.Unix(1, 0)
		}
		_ = p.listener.SetDeadline(deadline)
	})
}

// Refuse closes the port if on is true: new clients are refused, and existing
// connections are not affected. If on is false, Refuse opens the same port again,
// which fails if another process has taken it.
func (p *Proxy) Refuse(on bool) error {
	var failed error
	p.change(func(f *faults) {
		switch {
		case p.closed || on == f.refuse:
		case on:
			f.refuse = true
			failed = p.listener.Close()
		default:
			l, err := listen(p.addr)
			if err != nil {
				failed = fmt.Errorf("cannot open the port again: %w", err)
				return
			}
			f.refuse = false
			p.listener = l
			if f.ignore {
				failed = l.SetDeadline(time.Unix(1, 0))
			}
			if f.drop {
				failed = errors.Join(failed, setDrop(l, true))
			}
		}
	})
	return failed
}

// Heal ends all faults. Connections that were cut stay cut, and DropOpen stays
// in effect for its connections.
func (p *Proxy) Heal() error {
	if err := p.Refuse(false); err != nil {
		return err
	}
	p.CutAfter(ToServer, -1, RST)
	p.CutAfter(ToClient, -1, RST)
	p.StopAccepting(false)
	if err := p.DropPackets(false); err != nil {
		return err
	}
	p.change(func(f *faults) { *f = faults{} })
	return nil
}
