// Package faultproxy is a TCP proxy that breaks connections in the ways that networks do, for tests: delay, a slow link, a black
// hole, a cut by RST or by FIN, now or after n bytes or after silence, a port that refuses or that nobody answers.
//
// It does not know what the bytes mean, TLS or WebSocket or HTTP: put it between a client and a server and give the client its
// address. It prints nothing and has no clock of its own.
//
// Invariants:
//   - Without faults it is invisible: bytes, half-closes and resets pass as they are, in order.
//   - Every fault can be set at any time, from any goroutine, and takes effect on connections that run.
//   - Nothing is lost by a delay, a rate or a black hole: what was held is delivered when it ends, as TCP would.
//   - It listens on loopback, and connects to loopback only, unless Config.Remote says otherwise.
//   - Close returns when all its goroutines have ended.
package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Direction says which way bytes go.
type Direction int

// The two directions.
const (
	ToServer Direction = iota // from the client to the server
	ToClient                  // from the server to the client
)

// Ending is how a connection is cut.
type Ending int

// The two endings.
const (
	RST Ending = iota // reset: the other end's reads and writes fail at once
	FIN               // a polite end: the other end reads EOF
)

// Side is who gets to know of a cut. The other side's connection stays open and silent, as after a lost packet.
type Side int

// Who gets to know.
const (
	Both   Side = iota // client and server
	Client             // the client alone
	Server             // the server alone
)

// Config says where a proxy listens and where to.
type Config struct {
	Listen string // host:port; a free port of 127.0.0.1 when empty
	Target string // host:port of the server
	Buffer int    // bytes of the kernel's that each of its sockets may hold; 0: as many as it likes, which is megabytes
	Remote bool   // allow Listen and Target to be something else than loopback
}

// Stats counts since the start of a proxy.
type Stats struct {
	Accepted int      // connections taken
	Open     int      // connections of which at least one side is open
	Bytes    [2]int64 // bytes delivered, by Direction
}

// Proxy is a running proxy. All methods may be called from any goroutine.
type Proxy struct {
	target string
	addr   string
	buffer int
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // the accept loop, and every connection

	mu       sync.Mutex
	faults   faults
	changed  chan struct{} // closed and replaced with every change of faults
	listener *net.TCPListener
	conns    map[*conn]struct{}
	accepted int
	bytes    [2]int64
	closed   bool
}

// faults is what is wrong with the network just now. The zero value is a network without faults.
type faults struct {
	delay  [2]time.Duration
	rate   [2]int // bytes per second, 0 is without limit
	held   [2]bool
	idle   time.Duration // 0 is never
	idleBy Ending
	limit  [2]*limit // for connections that begin
	deaf   bool      // nobody accepts
	refuse bool      // the port is closed
}

// limit is a number of bytes after which a connection is cut.
type limit struct {
	bytes int64
	by    Ending
}

// Start starts a proxy to cfg.Target. The server need not exist yet: it is connected to for each client anew, and a client for which
// that fails is reset.
func Start(cfg Config) (*Proxy, error) {
	listens := []string{cfg.Listen}
	if cfg.Listen == "" {
		listens = ports()
	}
	if !cfg.Remote {
		for _, addr := range []string{listens[0], cfg.Target} {
			if err := isLoopback(addr); err != nil {
				return nil, err
			}
		}
	}
	var l *net.TCPListener
	var err error
	for _, addr := range listens {
		if l, err = listen(addr); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		target:   cfg.Target,
		buffer:   cfg.Buffer,
		addr:     l.Addr().String(),
		listener: l,
		changed:  make(chan struct{}),
		conns:    map[*conn]struct{}{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Go(p.accept)
	return p, nil
}

// ports are some on loopback, in the order in which they are tried. Systems do not choose from these for those who want any: one that is closed by Refuse
// is not taken meanwhile.
func ports() []string {
	var addrs []string
	for range 50 {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))) //nolint:gosec // no secret
	}
	return addrs
}

func isLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s is not loopback: set Remote if it is meant", addr)
}

func listen(addr string) (*net.TCPListener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// Addr returns the address to give to the client, host:port. It stays the same for the life of the proxy.
func (p *Proxy) Addr() string { return p.addr }

// Stats returns what has happened so far.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Accepted: p.accepted, Open: len(p.conns), Bytes: p.bytes}
}

// Close closes the port and all connections, and waits for everything to end. Closing again does nothing.
func (p *Proxy) Close() error {
	p.cancel()
	p.mu.Lock()
	p.closed = true
	err := p.listener.Close()
	for c := range p.conns {
		c.abandon()
	}
	p.mu.Unlock()
	p.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// accept takes clients until the proxy is closed, past any fault that keeps it from doing so.
func (p *Proxy) accept() {
	for {
		f, l, changed := p.state()
		if f.deaf || f.refuse {
			select {
			case <-p.ctx.Done():
				return
			case <-changed:
			}
			continue
		}
		client, err := l.AcceptTCP()
		if p.ctx.Err() != nil {
			if err == nil {
				_ = client.Close()
			}
			return
		}
		if err == nil {
			p.take(client)
			continue
		}
		// A fault has woken us, or the machine is out of something: look again.
		select {
		case <-p.ctx.Done():
		case <-changed:
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *Proxy) state() (faults, *net.TCPListener, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.listener, p.changed
}

// take begins a connection.
func (p *Proxy) take(client *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = client.Close()
		return
	}
	p.accepted++
	c := newConn(p, client)
	p.conns[c] = struct{}{}
	p.wg.Go(func() {
		c.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
	})
}
