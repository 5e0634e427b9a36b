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

// smallWrite is the maximum size of a buffer that release itself writes, in bytes.
// It is enough for a few keys.
const smallWrite = 512

// bufferedConn combines the writes to one network connection. The WebSocket
// library flushes every 4 KiB: without a buffer, each flush would be one TLS
// record and one system call. A goroutine writes to the connection. Each of its
// writes contains everything that was buffered during the previous one. Read
// reads from the connection directly, and the field reads measures how long
// Read waits.
//
// A short message, such as a key, is written by the goroutine that sends it if
// no other write to the connection is in progress: see hold. Waking the other
// goroutine would take longer than the write.
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
	room    sync.Cond // there is room in the buffer, or err is set
	work    sync.Cond // due has become true, or err is set; for the goroutine
	pending []byte    // the buffer
	spare   []byte    // the buffer of the last write, which is used again; nil while a write is in progress
	writing bool      // a write to the connection is in progress
	held    int       // calls of hold without a release
	err     error     // an error of the connection, or net.ErrClosed; no more writes follow
}

func newBufferedConn(conn io.ReadWriteCloser) *bufferedConn {
	b := &bufferedConn{ReadWriteCloser: conn, reads: newReadTimer(), done: make(chan struct{})}
	b.room.L, b.work.L = &b.mu, &b.mu
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
		b.room.Wait()
	}
	if b.err != nil {
		return 0, b.err
	}
	b.pending = append(b.pending, p...)
	if b.due() {
		b.work.Signal()
	}
	return len(p), nil
}

// due reports whether the goroutine is to write the buffer now.
func (b *bufferedConn) due() bool {
	return !b.writing && len(b.pending) > 0 && (b.held == 0 || len(b.pending) > smallWrite)
}

// hold is called before a message is written, and release after it. In between,
// a short message only fills the buffer. release then writes the buffer, unless
// a write is in progress: then the goroutine writes the buffer after that.
//
// release may block while the connection takes no data, so the caller must not
// hold a lock that a control frame needs. Between hold and release, the caller
// must not wait for an answer to what it has written: hence hold is not used for
// SPDY, where a write may wait until the server allows more data.
func (b *bufferedConn) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held++
}

func (b *bufferedConn) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held--
	if !b.due() || b.err != nil {
		return
	}
	if len(b.pending) > smallWrite {
		b.work.Signal()
		return
	}
	b.writePending()
	if b.due() {
		b.work.Signal()
	}
}

// flush writes the buffer until Close, which waits for flush to return.
func (b *bufferedConn) flush() {
	defer close(b.done)
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for !b.due() && b.err == nil {
			b.work.Wait()
		}
		if b.err != nil {
			return
		}
		b.writePending()
	}
}

// writePending writes the buffer to the connection. The caller holds mu, which
// is not held during the write.
func (b *bufferedConn) writePending() {
	batch := b.pending
	b.pending, b.spare, b.writing = b.spare[:0], nil, true
	b.room.Broadcast()
	err := b.writeUnlocked(batch)
	b.spare, b.writing = batch, false
	if err != nil {
		b.setErr(err)
	}
}

func (b *bufferedConn) writeUnlocked(p []byte) error {
	b.mu.Unlock()
	defer b.mu.Lock() // deferred for the case that Write panics
	_, err := b.ReadWriteCloser.Write(p)
	return err
}

func (b *bufferedConn) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setErr(err)
}

// setErr ends the writing with err. The caller holds mu.
func (b *bufferedConn) setErr(err error) {
	if b.err == nil {
		b.err = err
	}
	b.room.Broadcast()
	b.work.Broadcast()
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
