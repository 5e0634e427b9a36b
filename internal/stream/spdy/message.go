package spdy

import (
	"encoding/json"
	"io"
	"net"

	utilremotecommand "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/tools/remotecommand"
)

// message is the message that NextReader waits for and messageReader reads.
type message struct {
	pending bool   // there is a message
	begun   bool   // the stream byte was read
	stream  byte   // StreamStdOut, StreamStdErr or StreamErr
	payload []byte // the part that was not read yet; output.Write waits until all is read
}

// NextReader waits for the next message and returns a reader for it, which is
// valid until the next call. The status is the last message. At the end of the
// connection, NextReader returns an error; io.EOF does not mean that the
// command succeeded.
func (c *Conn) NextReader() (io.Reader, error) {
	if !c.next() {
		c.goroutines.Wait()
		return nil, c.err
	}
	return messageReader{c}, nil
}

// next waits for a message. It returns false at the end of the connection.
func (c *Conn) next() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.isClosed && !c.message.pending && !c.finished {
		c.changed.Wait()
	}
	switch {
	case c.isClosed, c.message.pending: // after Close, messageReader.Read returns the error
		return true
	case len(c.status) > 0:
		c.message = message{pending: true, stream: utilremotecommand.StreamErr, payload: c.status}
		c.status = nil
		return true
	}
	return false
}

// messageReader reads the pending message.
type messageReader struct{ c *Conn }

// Read implements io.Reader.
func (r messageReader) Read(p []byte) (n int, err error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	m := &r.c.message
	switch {
	case r.c.isClosed:
		return 0, net.ErrClosed
	case !m.pending:
		return 0, io.EOF
	case !m.begun && len(p) > 0:
		p[0] = m.stream
		n, m.begun = 1, true
	}
	k := copy(p[n:], m.payload)
	if m.payload = m.payload[k:]; len(m.payload) == 0 {
		*m = message{}
		r.c.changed.Broadcast()
		err = io.EOF
	}
	return n + k, err
}

// output is stdout or stderr. The executor writes each from a separate
// goroutine.
type output struct {
	c      *Conn
	stream byte
}

// Write implements io.Writer. It returns when the message has been read. It
// never fails: after Close, it drops p.
func (o output) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c := o.c
	c.outputs.Lock()
	defer c.outputs.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed {
		return len(p), nil
	}
	c.message = message{pending: true, stream: o.stream, payload: p}
	c.changed.Broadcast()
	for c.message.pending && !c.isClosed {
		c.changed.Wait()
	}
	return len(p), nil
}

// Write sends a message: StreamStdIn and data, StreamResize and a JSON object
// with Width and Height, or StreamClose, which closes stdin. It blocks while
// the server does not read stdin, until Close is called. A message on
// StreamStdOut only resets the server's idle timer; its data is not sent.
func (c *Conn) Write(message []byte) error {
	payload := message[1:]
	switch message[0] {
	case utilremotecommand.StreamStdIn:
		_, err := c.input.Write(payload)
		return err
	case utilremotecommand.StreamClose:
		return c.input.Close()
	case utilremotecommand.StreamStdOut:
		return c.resetIdleTimer()
	case utilremotecommand.StreamResize:
		var size remotecommand.TerminalSize
		if err := json.Unmarshal(payload, &size); err != nil {
			return err
		}
		c.resize(size)
	}
	return nil
}

// resetIdleTimer sends an empty frame on the error stream.
func (c *Conn) resetIdleTimer() error {
	c.mu.Lock()
	stream := c.errorStream
	c.mu.Unlock()
	if stream == nil {
		return nil
	}
	_, err := stream.Write(nil)
	return err
}

// resize passes a size to the executor. It replaces a size that was not sent
// yet.
func (c *Conn) resize(size remotecommand.TerminalSize) {
	select {
	case <-c.sizes:
	default:
	}
	c.sizes <- size
}

// sizeQueue passes the sizes to the executor.
type sizeQueue struct{ c *Conn }

// Next implements remotecommand.TerminalSizeQueue.
func (q sizeQueue) Next() *remotecommand.TerminalSize {
	select {
	case size := <-q.c.sizes:
		return &size
	case <-q.c.closed:
		return nil
	}
}
