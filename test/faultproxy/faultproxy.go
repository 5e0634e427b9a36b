// Package faultproxy is a TCP proxy for tests that breaks connections as
// networks do: delays, slow links, black holes, lost packets, cuts by RST or FIN
// (at once, after n bytes or after idle time), and ports that refuse or ignore
// connections.
//
// It does not know the protocol of the connections. Put it between a client and
// a server, and give the client its address. It prints nothing.
//
// Invariants:
//   - Without faults it is transparent: bytes, half-closes and resets are
//     passed on in order.
//   - Every fault can be set at any time, from any goroutine, and applies to
//     existing connections.
//   - A delay, a rate, a black hole or dropped packets lose no bytes: held bytes
//     are delivered when the fault ends, as with TCP.
//   - It listens on loopback and connects to loopback, unless Config.Remote is
//     set.
//   - Close returns when all goroutines have ended.
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

// Direction is the direction of bytes.
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
	RST Ending = iota // reset: reads and writes of the other end fail at once
	FIN               // the other end reads EOF
)

// Side is the side that sees a cut. If only one side sees it, the connection of
// the other side stays open and silent, as when the packet with the FIN or RST
// is lost.
type Side int

// The sides.
const (
	Both   Side = iota // client and server
	Client             // only the client
	Server             // only the server
)

// Config configures a proxy.
type Config struct {
	Listen string // host:port; "": a free port of 127.0.0.1
	Target string // host:port of the server
	Buffer int    // size of the kernel buffers of each socket, in bytes; 0: the default, which is megabytes
	Remote bool   // allow Listen and Target not to be loopback
}

// Stats are counters since the start of the proxy.
type Stats struct {
	Accepted int      // accepted connections
	Open     int      // connections with at least one open side
	Bytes    [2]int64 // bytes delivered, by Direction
}

// Proxy is a running proxy. All methods may be called from any goroutine.
type Proxy struct {
	target string
	addr   string
	buffer int
	ctx    context.Context // canceled by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // the accept loop and all connections

	mu       sync.Mutex
	faults   faults
	changed  chan struct{} // closed and replaced when faults change
	listener *net.TCPListener
	conns    map[*conn]struct{}
	accepted int
	bytes    [2]int64
	closed   bool
}

// faults are the current faults. The zero value means none.
type faults struct {
	delay  [2]time.Duration
	rate   [2]int // bytes per second; 0: no limit
	held   [2]bool
	idle   time.Duration // 0: no timeout
	idleBy Ending
	limit  [2]*limit // for new connections
	drop   bool      // all packets are dropped
	ignore bool      // connections are not accepted
	refuse bool      // the port is closed
}

// limit is the number of bytes after which a connection is cut.
type limit struct {
	bytes int64
	by    Ending
}

// Start starts a proxy to cfg.Target. The server need not exist yet: the proxy
// connects to the server for each client, and resets the client if it cannot
// connect.
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

// ports returns random ports on loopback. They are below the range from which
// systems choose ports, so that no other program takes a port while Refuse
// has closed it.
func ports() []string {
	var addrs []string
	for range 50 {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))) //nolint:gosec // not a secret
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
	return fmt.Errorf("%s is not loopback: set Remote to allow it", addr)
}

// listen opens a port. Its connections send no TCP keepalives, because these
// would reach a client even while DropPackets is on. Multipath TCP is off,
// because Linux allows no filter on a Multipath TCP socket.
func listen(addr string) (*net.TCPListener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// Addr returns the address for the client, host:port. It never changes.
func (p *Proxy) Addr() string { return p.addr }

// Stats returns the counters.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Accepted: p.accepted, Open: len(p.conns), Bytes: p.bytes}
}

// Close closes the port and all connections, and waits for all goroutines. It
// may be called more than once.
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

// accept accepts clients until the proxy is closed. It pauses while a fault
// forbids new clients.
func (p *Proxy) accept() {
	for {
		f, l, changed := p.state()
		if f.ignore || f.refuse {
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
		// A fault has interrupted Accept, or the machine lacks resources: try
		// again.
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

// take starts forwarding between an accepted client and the server.
func (p *Proxy) take(client *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.faults.refuse { // Refuse was called after Accept had returned
		_ = client.Close()
		return
	}
	p.accepted++
	if p.faults.drop {
		_ = setDrop(client, true) // if this system has no filters, DropPackets has returned the error
	}
	c := newConn(p, client)
	p.conns[c] = struct{}{}
	p.wg.Go(func() {
		c.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
	})
}
