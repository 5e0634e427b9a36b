package stream

import (
	"io"
	"net"
	"sync"

	"kshell/internal/group"
)

// gatherSize bounds what waits to be written while as much is being written, in bytes.
const gatherSize = 128 << 10

// Control frames (125 bytes and a header at most) do not wait: the library closes the socket when one cannot be written in 5 s, though a
// remote that does not read its stdin is no reason for that. controlSlack is the room for them.
const (
	controlSize  = 131
	controlSlack = 4 << 10
)

// gather joins the writes to one socket. The WebSocket library flushes every 4 KiB, and each flush would be a TLS record and a system
// call of its own; here a goroutine writes whatever has come together while it wrote the last. Reads are passed on, and recorded in in.
//
// Write blocks while gatherSize waits. An error of the socket is that of a later Write. Close drops what still waits. A panic in the goroutine
// closes the socket, and comes out of wait.
type gather struct {
	io.ReadWriteCloser
	in      *inbound
	flusher group.Group
	done    chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	changed sync.Cond
	waiting []byte
	err     error // of the socket, or net.ErrClosed: no more writes
}

func newGather(socket io.ReadWriteCloser) *gather {
	g := &gather{ReadWriteCloser: socket, in: newInbound(), done: make(chan struct{})}
	g.changed.L = &g.mu
	g.flusher.OnPanic = func() {
		g.fail(errPanicked)
		_ = socket.Close() // its reader returns
	}
	g.flusher.Go(g.flush)
	return g
}

// Read implements io.Reader.
func (g *gather) Read(p []byte) (int, error) {
	g.in.wait()
	defer g.in.done()
	return g.ReadWriteCloser.Read(p)
}

// Write implements io.Writer.
func (g *gather) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	room := gatherSize
	if len(p) <= controlSize {
		room += controlSlack
	}
	for len(g.waiting) > 0 && len(g.waiting)+len(p) > room && g.err == nil {
		g.changed.Wait()
	}
	if g.err != nil {
		return 0, g.err
	}
	g.waiting = append(g.waiting, p...)
	g.changed.Broadcast()
	return len(p), nil
}

// flush is the goroutine. Close ends it and waits for it.
func (g *gather) flush() {
	defer close(g.done)
	var batch []byte
	for {
		var ok bool
		if batch, ok = g.take(batch[:0]); !ok {
			return
		}
		if _, err := g.ReadWriteCloser.Write(batch); err != nil {
			g.fail(err)
		}
	}
}

// take waits for bytes and swaps them for the empty batch.
func (g *gather) take(empty []byte) (batch []byte, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.waiting) == 0 && g.err == nil {
		g.changed.Wait()
	}
	if g.err != nil {
		return nil, false
	}
	batch, g.waiting = g.waiting, empty
	g.changed.Broadcast()
	return batch, true
}

func (g *gather) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	g.changed.Broadcast()
}

// Close closes the socket and waits for the goroutine. It does not panic: a library may call it in a goroutine of its own.
func (g *gather) Close() error {
	g.fail(net.ErrClosed)
	err := g.ReadWriteCloser.Close()
	<-g.done
	return err
}

// wait waits for the goroutine, after Close, and passes on its panic.
func (g *gather) wait() { g.flusher.Wait() }
