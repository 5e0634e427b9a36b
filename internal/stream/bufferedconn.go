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

// Control frames (at most 125 bytes and a header) do not wait for room in the
// buffer: the WebSocket library closes the connection if it cannot write one
// within 5 s, and a remote process that does not read its stdin must not cause
// that. controlSlack is the additional room for writes of at most controlSize
// bytes.
const (
	controlSize  = 131
	controlSlack = 4 << 10
)

// bufferedConn combines the writes to one network connection. The WebSocket
// library flushes every 4 KiB: without a buffer, each flush would be one TLS
// record and one system call. A goroutine writes to the connection; it then
// writes everything that was buffered during its last write. Read reads from
// the connection directly; reads measures how long it waits.
//
// Write blocks while the buffer is full. An error of the connection is returned
// by a later Write. Close drops the buffer. A panic in the goroutine closes the
// connection, and wait panics with it.
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
		_ = conn.Close() // its reader returns
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

// take waits until the buffer is not empty, replaces it with empty, and returns
// it. ok is false after an error or Close.
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

// wait waits for the goroutine after Close, and panics if it has panicked.
func (b *bufferedConn) wait() { b.flusher.Wait() }
