package stream

import (
	"io"
	"net"
	"sync"

	"kshell/internal/group"
)

// bufferSize is the size of the buffer for the next write, in bytes. The write
// in progress has a second buffer.
const bufferSize = 128 << 10

// While a remote process does not read its stdin, the buffer may stay full.
// Control frames do not wait for room in the buffer, because the WebSocket
// library closes the connection if it cannot write a control frame within 5 s.
// controlSize is the maximum size of a control frame: 125 bytes and a header.
// controlSlack is the additional room in the buffer for writes of at most
// controlSize bytes.
const (
	controlSize  = 131
	controlSlack = 4 << 10
)

// bufferedConn combines the writes to one network connection. The WebSocket
// library flushes every 4 KiB: without a buffer, each flush would be one TLS
// record and one system call. A goroutine writes to the connection. Each of its
// writes contains everything that was buffered during the previous one. Read
// reads from the connection directly, and the field reads measures how long
// Read waits.
//
// Write blocks while the buffer is full. An error of the connection is returned
// by a later Write. Close drops the buffer. If the goroutine panics, the
// connection is closed, and wait panics, too.
type bufferedConn struct {
	io.ReadWriteCloser
	reads   *readTimer
	flusher *group.Group
	done    chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	changed sync.Cond
	pending []byte // the buffer
	err     error  // an error of the connection, or net.ErrClosed; no more writes follow
}

func newBufferedConn(conn io.ReadWriteCloser) *bufferedConn {
	b := &bufferedConn{ReadWriteCloser: conn, reads: newReadTimer(), done: make(chan struct{})}
	b.changed.L = &b.mu
	b.flusher = group.New(func() {
		b.fail(errPanicked)
		_ = conn.Close() // so that a blocked Read returns
	})
	b.flusher.Go(b.flush)
	return b
}

// Read implements io.Reader.
func (b *bufferedConn) Read(p []byte) (int, error) {
	b.reads.begin()
	defer b.reads.end()
	return b.ReadWriteCloser.Read(p)
}

// Write implements io.Writer.
func (b *bufferedConn) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	room := bufferSize
	if len(p) <= controlSize {
		room += controlSlack
	}
	for len(b.pending) > 0 && len(b.pending)+len(p) > room && b.err == nil {
		b.changed.Wait()
	}
	if b.err != nil {
		return 0, b.err
	}
	b.pending = append(b.pending, p...)
	b.changed.Broadcast()
	return len(p), nil
}

// flush writes the buffer until Close, which waits for flush to return.
func (b *bufferedConn) flush() {
	defer close(b.done)
	var batch []byte
	for {
		var ok bool
		if batch, ok = b.take(batch[:0]); !ok {
			return
		}
		if _, err := b.ReadWriteCloser.Write(batch); err != nil {
			b.fail(err)
		}
	}
}

// take waits until the buffer has data, and returns the buffer. The slice empty
// becomes the new buffer. ok is false after an error or Close.
func (b *bufferedConn) take(empty []byte) (batch []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.pending) == 0 && b.err == nil {
		b.changed.Wait()
	}
	if b.err != nil {
		return nil, false
	}
	batch, b.pending = b.pending, empty
	b.changed.Broadcast()
	return batch, true
}

func (b *bufferedConn) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.changed.Broadcast()
}

// Close closes the connection and waits for the goroutine. It does not pass on
// a panic, because the WebSocket library may call it from any goroutine.
func (b *bufferedConn) Close() error {
	b.fail(net.ErrClosed)
	err := b.ReadWriteCloser.Close()
	<-b.done
	return err
}

// wait waits for the goroutine after Close, and panics if it has panicked. If b
// is nil, wait does nothing.
func (b *bufferedConn) wait() {
	if b != nil {
		b.flusher.Wait()
	}
}
