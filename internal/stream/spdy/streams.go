package spdy

import (
	"errors"
	"io"
	"net/http"
	"time"

	"k8s.io/streaming/pkg/httpstream"

	"kshell/internal/group"
)

// maxMessage is the maximum size of a status, in bytes.
const maxMessage = 4 << 20

var errStatusSize = errors.New("the server's status is larger than 4 MiB")

// connection is the SPDY connection that the executor uses. It wraps the
// streams that the executor creates in errorStream and dataStream.
type connection struct {
	httpstream.Connection
	c *Conn
}

// answerDelay is how long the library may take to deliver an answer that it
// received before the connection ended.
const answerDelay = time.Second

// CreateStream implements httpstream.Connection. After the connection has
// ended, it waits at most answerDelay for an answer, whereas the library would
// wait 30 s.
func (c connection) CreateStream(headers http.Header) (httpstream.Stream, error) {
	stream, err := c.create(headers.Clone()) // a copy, because the caller changes headers afterwards
	switch {
	case err != nil:
		return nil, err
	case headers.Get("streamType") == "error": // core/v1 StreamType, StreamTypeError
		c.c.mu.Lock()
		defer c.c.mu.Unlock()
		c.c.errorStream = stream
		return errorStream{stream, c.c}, nil
	default:
		return dataStream{stream, c.c.closed}, nil
	}
}

func (c connection) create(headers http.Header) (httpstream.Stream, error) {
	type result struct {
		stream httpstream.Stream
		err    error
	}
	answer := make(chan result, 1)
	creating := group.New(func() { answer <- result{err: errPanicked} })
	creating.Go(func() { // this goroutine ends after at most 30 s, and is not waited for
		stream, err := c.Connection.CreateStream(headers)
		answer <- result{stream, err}
	})
	var r result
	select {
	case r = <-answer:
	case <-c.CloseChan():
		select {
		case r = <-answer: // the answer was in transit; all output of a short command may follow it
		case <-time.After(answerDelay):
			r.err = io.ErrUnexpectedEOF
		}
	}
	if errors.Is(r.err, errPanicked) {
		creating.Wait() // panics
	}
	return r.stream, r.err
}

// errorStream is the stream that carries the status.
type errorStream struct {
	httpstream.Stream
	c *Conn
}

// Read implements io.Reader. The executor reads the whole stream into memory,
// so Read fails if the stream is larger than maxMessage.
func (s errorStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if s.c.appendStatus(p[:n]) > maxMessage {
		s.c.closeSocket()
		_, _ = io.Copy(io.Discard, s.Stream) // the library blocks until the data that it has received is read
		return 0, errStatusSize
	}
	return n, err
}

// appendStatus appends p to the status, up to maxMessage+1 bytes, and returns
// the length of the status.
func (c *Conn) appendStatus(p []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if room := maxMessage + 1 - len(c.status); !c.finished {
		c.status = append(c.status, p[:min(len(p), room)]...)
	}
	return len(c.status)
}

// dataStream is a stream whose Write never fails, because the executor would
// log an error. The goroutine that calls Conn.NextReader detects a dead
// connection.
type dataStream struct {
	httpstream.Stream
	closed <-chan struct{} // closed by Conn.Close
}

// Write implements io.Writer.
func (s dataStream) Write(p []byte) (int, error) {
	if _, err := s.Stream.Write(p); err != nil {
		<-s.closed
	}
	return len(p), nil
}
