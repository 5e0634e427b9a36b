package stream

import (
	"io"
	"net"
	"sync"

	"kshell/internal/group"
)

// gatherSize is the maximum size of the buffer for the next write, in bytes. As
// much may be being written at the same time.
const gatherSize = 128 << 10

// Control frames (at most 125 bytes and a header) do not wait for room in the
// buffer. The library closes the socket if it cannot write one within 5 s, but
// a remote that does not read its stdin must not have that effect. controlSlack
// is additional room for control frames.
const (
	controlSize  = 131
	controlSlack = 4 << 10
)

// gather combines the writes to one socket. The WebSocket library flushes every
// 4 KiB, and without gather each flush would be one TLS record and one system
// call. A goroutine writes to the socket; it then writes everything that was
// buffered during its last write. Reads are passed on and recorded in in.
//
// Write blocks while the buffer is full. An error of the socket is returned by
// a later Write. Close drops the buffer. A panic in the goroutine closes the
// socket, and wait panics with it.
type gather struct {
	io.ReadWriteCloser
	in      *inbound
	flusher *group.Group
	done    chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	changed sync.Cond
	waiting []byte
	err     error // an error of the socket, or net.ErrClosed; no more writes follow
}

func newGather(socket io.ReadWriteCloser) *gather {
	g := &gather{ReadWriteCloser: socket, in: newInbound(), done: make(chan struct{})}
	g.changed.L = &g.mu
	g.flusher = group.New(func() {
		g.fail(errPanicked)
		_ = socket.Close() // its reader returns
	})
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

// flush writes the buffer until Close, which waits for flush to return.
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

// take waits until the buffer is not empty, and exchanges it for empty.
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

// Close closes the socket and waits for the goroutine. It does not pass on a
// panic, because the WebSocket library may call it in one of its own
// goroutines.
func (g *gather) Close() error {
	g.fail(net.ErrClosed)
	err := g.ReadWriteCloser.Close()
	<-g.done
	return err
}

// wait waits for the goroutine after Close, and panics if it has panicked.
func (g *gather) wait() { g.flusher.Wait() }
