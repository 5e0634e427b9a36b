package resume

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// network is a network in memory, which works in fake time. It connects clients
// to one server, whose listener it is. Bytes arrive late, and connections break.
type network struct {
	accepted chan net.Conn
	closed   chan struct{}
	pumps    sync.WaitGroup

	mu     sync.Mutex
	delay  time.Duration // of each direction
	refuse bool          // connections cannot be opened
	wires  []*wire
}

func newNetwork() *network {
	return &network{accepted: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.accepted:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *network) Close() error { return nil }

// Addr implements net.Listener.
func (n *network) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// end closes the network and all connections, and waits for its goroutines.
func (n *network) end() {
	close(n.closed)
	n.mu.Lock()
	wires := slices.Clone(n.wires)
	n.mu.Unlock()
	for _, w := range wires {
		w.reset()
	}
	n.pumps.Wait()
}

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	refuse := n.refuse
	n.mu.Unlock()
	if refuse {
		return nil, errors.New("connection refused")
	}
	client, near := net.Pipe()
	server, far := net.Pipe()
	w := &wire{near: near, far: far, ended: make(chan struct{})}
	select {
	case n.accepted <- server:
	case <-n.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wires = append(n.wires, w)
	n.pumps.Go(func() { n.pump(w, w.far, w.near, &w.up) })
	n.pumps.Go(func() { n.pump(w, w.near, w.far, &w.down) })
	return client, nil
}

// newest returns the newest connection.
func (n *network) newest() *wire {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wires[len(n.wires)-1]
}

// sleep waits for the duration, or until the connection is reset.
func (w *wire) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.ended:
	}
}

// wire is one connection: two pipes, and the bytes between them.
type wire struct {
	near, far net.Conn // the network's ends of the pipes of the client and the server
	up, down  transit
	ended     chan struct{} // closed by reset
	once      sync.Once
}

// transit is a direction of a connection.
type transit struct {
	mu   sync.Mutex
	hole bool          // all further bytes are lost
	late time.Duration // further bytes arrive that much later
}

func (t *transit) state() (hole bool, late time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hole, t.late
}

// lose loses all further bytes, and the end of the direction.
func (t *transit) lose() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hole = true
}

// piece is a part of the bytes in transit.
type piece struct {
	data []byte
	at   time.Time // of its arrival
}

// pump moves the bytes of one direction.
func (n *network) pump(w *wire, to, from net.Conn, direction *transit) {
	pieces := make(chan piece, 1<<16)
	n.pumps.Go(func() {
		for p := range pieces {
			w.sleep(time.Until(p.at))
			if _, err := to.Write(p.data); err != nil {
				_ = from.Close()
			}
		}
		_ = to.Close()
	})
	buf := make([]byte, 64<<10)
	for {
		k, err := from.Read(buf)
		hole, late := direction.state()
		n.mu.Lock()
		at := time.Now().Add(n.delay + late)
		n.mu.Unlock()
		if k > 0 && !hole {
			pieces <- piece{slices.Clone(buf[:k]), at}
		}
		if err != nil {
			if hole { // the other end does not notice it
				<-w.ended
			}
			close(pieces)
			return
		}
	}
}

// reset closes both ends. The bytes in transit are lost.
func (w *wire) reset() {
	w.once.Do(func() {
		close(w.ended)
		_ = w.near.Close()
		_ = w.far.Close()
	})
}

// blackHole loses all further bytes, and the ends of the connection.
func (w *wire) blackHole() {
	w.up.lose()
	w.down.lose()
}

// halfOpen cuts the client off. What it has sent so far, or sends before it
// notices the cut, arrives at the server late.
func (w *wire) halfOpen(late time.Duration) {
	w.up.mu.Lock()
	w.up.late = late
	w.up.mu.Unlock()
	w.down.lose()
	_ = w.near.SetReadDeadline(time.Now().Add(late / 2))
	_ = w.near.SetWriteDeadline(time.Now())
}

// cut breaks the connection in a random way.
func (w *wire) cut(random *rand.Rand) {
	switch random.IntN(3) {
	case 0:
		w.reset()
	case 1:
		w.blackHole()
	case 2:
		w.halfOpen(time.Duration(random.IntN(5000)) * time.Millisecond)
	}
}
