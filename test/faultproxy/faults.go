package faultproxy

import (
	"fmt"
	"time"
)

// change changes the faults and wakes all that wait for one of them.
func (p *Proxy) change(f func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.faults)
	close(p.changed)
	p.changed = make(chan struct{})
}

// Delay delivers all bytes of a direction so much later than they came, without slowing them down. 0 ends it. What one connection
// can hold back is bounded, to about 1 MiB and the buffers of the kernel; then the sender has to wait.
func (p *Proxy) Delay(dir Direction, d time.Duration) {
	p.change(func(f *faults) { f.delay[dir] = d })
}

// Rate lets so many bytes a second through, for each connection. 0 is without limit.
func (p *Proxy) Rate(dir Direction, bytesPerSecond int) {
	p.change(func(f *faults) { f.rate[dir] = max(0, bytesPerSecond) })
}

// BlackHole lets nothing through any more in that direction, neither bytes nor ends, and tells nobody. While it is on for ToServer,
// new clients are taken but not connected. When it is switched off, what was held is delivered.
func (p *Proxy) BlackHole(dir Direction, on bool) {
	p.change(func(f *faults) { f.held[dir] = on })
}

// IdleTimeout cuts a connection through which nothing has passed for d, in either direction, as balancers and firewalls do. 0 is never.
func (p *Proxy) IdleTimeout(d time.Duration, by Ending) {
	p.change(func(f *faults) { f.idle, f.idleBy = d, by })
}

// CutAfter lets exactly n more bytes through in that direction and then cuts the connection, on both sides: for a connection that
// runs, n from now; for one to come, n from its beginning. A negative n ends it. All n arrive before a FIN; an RST overtakes what the
// receiver's kernel has not taken yet, which is nothing as long as the receiver reads.
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

// Cut ends all connections that are open now and returns how many there were. Bytes that are still held are lost. A side that is
// not told may be cut by a second call.
//
// An RST overtakes what the receiver's kernel has not taken yet; what it has, the receiver can still read.
func (p *Proxy) Cut(who Side, by Ending) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.cut(who, by)
	}
	return len(p.conns)
}

// StopAccepting leaves new clients unanswered: their connect succeeds, because the kernel does that, and then nothing comes. When it
// is switched off, those that still wait are taken.
func (p *Proxy) StopAccepting(on bool) {
	p.change(func(f *faults) {
		f.deaf = on
		// Wakes an Accept that waits; the past is a time that has been.
		deadline := time.Time{}
		if on {
			deadline = time.Unix(1, 0)
		}
		_ = p.listener.SetDeadline(deadline)
	})
}

// Refuse closes the port: new clients are refused at once, connections that run are left alone. Switched off, it opens the same port
// again, and fails only if someone else has taken it meanwhile.
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
				failed = fmt.Errorf("the port cannot be opened again: %w", err)
				return
			}
			f.refuse = false
			p.listener = l
			if f.deaf {
				failed = l.SetDeadline(time.Unix(1, 0))
			}
		}
	})
	return failed
}

// Heal ends all faults. Connections that were cut stay so.
func (p *Proxy) Heal() error {
	if err := p.Refuse(false); err != nil {
		return err
	}
	p.CutAfter(ToServer, -1, RST)
	p.CutAfter(ToClient, -1, RST)
	p.StopAccepting(false)
	p.change(func(f *faults) { *f = faults{} })
	return nil
}
