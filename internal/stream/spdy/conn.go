// Package spdy carries one exec or attach session over SPDY, with client-go's
// remotecommand. It presents the session as messages: the first byte is the
// stream (StreamStdIn and so on of k8s.io/apimachinery/pkg/util/remotecommand),
// the rest is the payload. These are the messages of v5.channel.k8s.io.
//
// It does not know WebSockets, retries or the meaning of a status, and it does
// not decide which answer to the handshake is acceptable.
//
//   - conn.go: opens and closes a connection
//   - message.go: receives and sends messages
//   - streams.go: the SPDY streams that remotecommand uses
//   - socket.go: the connection below SPDY, and the size limit of a frame
//
// Invariants:
//
//   - The status is the content of the error stream. The result of
//     remotecommand is not used: if the error stream ends without a status,
//     which happens if the connection is cut, remotecommand reports success.
//   - The status is the last message, after all output: the server sends it
//     after the output, on the same connection.
//   - Close closes the connection and waits for the executor of remotecommand.
//     The goroutines of the SPDY library end soon afterwards.
//   - At most 4 MiB of a status or of a frame are held in memory.
package spdy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"

	utilremotecommand "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/tools/remotecommand"
	spdytransport "k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"kshell/internal/group"
)

// Version is the name of the protocol in the Upgrade header.
const Version = spdy.HeaderSpdy31

// Protocols returns the protocols that are offered, best first. In both, the
// server reports the outcome in a status, and stdin can be closed. Older
// protocols, in which the absence of an error means success, are needed only by
// servers before Kubernetes 1.4.
func Protocols() []string {
	return []string{utilremotecommand.StreamProtocolV5Name, utilremotecommand.StreamProtocolV4Name}
}

// Conn is one session. One goroutine may call NextReader and read the message,
// while other goroutines call Write, one at a time. Any goroutine may call
// Close.
//
// remotecommand's executor runs in a goroutine. It reads stdin from a pipe. It
// writes each piece of output as a message, but only when the previous message
// has been read.
type Conn struct {
	transport http.RoundTripper
	accept    AcceptFunc
	cancel    context.CancelFunc
	closing   sync.Once

	goroutines *group.Group // the executor; a panic in it is passed on by NextReader and Dial

	// Set during the handshake, before opened or done is closed.
	body         io.ReadWriteCloser // the connection below SPDY
	socket       *socket
	handshakeErr error
	opened       chan struct{} // closed after the handshake

	done   chan struct{} // closed when the executor has returned
	closed chan struct{} // closed by Close

	stdin *io.PipeReader // read by the executor
	input *io.PipeWriter
	sizes chan remotecommand.TerminalSize // 1 slot: the newest size that was not sent

	outputs sync.Mutex // held by the output stream whose message is pending

	mu          sync.Mutex
	changed     sync.Cond
	isClosed    bool
	finished    bool      // the executor has returned, so no more output follows
	err         error     // set with finished
	status      []byte    // the content of the error stream so far, at most maxMessage+1 bytes
	errorStream io.Writer // nil before it is open
	message     message   // the message to read
}

// AcceptFunc returns the connection on which an answer to a handshake has
// arrived. If the answer is not the required upgrade, it closes the body of the
// answer and returns an error.
type AcceptFunc func(*http.Response) (io.ReadWriteCloser, error)

// Dial opens a connection with a POST to u. The parameters stdin, stdout,
// stderr and tty of u's query select the streams (core/v1 PodExecOptions). Dial
// sends the request through transport, which must use HTTP/1.1. ctx applies
// only to the handshake. The error is that of transport, accept or
// remotecommand.
func Dial(ctx context.Context, transport http.RoundTripper, u *url.URL, accept AcceptFunc) (*Conn, error) {
	c := newConn(transport, accept)
	upgrade := spdytransport.NewUpgraderForStreaming(upgrader{c})
	executor, err := remotecommand.NewSPDYExecutorForProtocols(upgrader{c}, upgrade, http.MethodPost, u, Protocols()...)
	if err != nil {
		return nil, err
	}
	options := c.options(u.Query())
	c.run(ctx, func(ctx context.Context) error { return executor.StreamWithContext(ctx, options) })
	select {
	case <-c.opened:
	case <-c.done:
	case <-ctx.Done():
	}
	if c.isOpen() {
		return c, nil
	}
	c.Close()
	c.goroutines.Wait()
	if c.handshakeErr != nil { // the error of the executor contains handshakeErr only as text
		return nil, c.handshakeErr
	}
	return nil, c.err
}

func newConn(transport http.RoundTripper, accept AcceptFunc) *Conn {
	c := &Conn{
		transport: transport, accept: accept,
		opened: make(chan struct{}), done: make(chan struct{}), closed: make(chan struct{}),
		sizes: make(chan remotecommand.TerminalSize, 1),
	}
	c.changed.L = &c.mu
	c.stdin, c.input = io.Pipe()
	return c
}

// run starts the executor. The executor uses the values of ctx, but does not
// end when ctx ends.
func (c *Conn) run(ctx context.Context, execute func(context.Context) error) {
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.goroutines = group.New(c.cancel)
	c.goroutines.Go(func() {
		defer close(c.done)
		var err error
		defer func() { c.finish(err) }() // also after a panic, because NextReader waits
		err = execute(ctx)
	})
}

func (c *Conn) options(query url.Values) remotecommand.StreamOptions {
	has := func(name string) bool { return query.Get(name) == "true" }
	options := remotecommand.StreamOptions{Tty: has("tty"), TerminalSizeQueue: sizeQueue{c}}
	if has("stdin") {
		options.Stdin = c.stdin
	}
	if has("stdout") {
		options.Stdout = output{c, utilremotecommand.StreamStdOut}
	}
	if has("stderr") {
		options.Stderr = output{c, utilremotecommand.StreamStdErr}
	}
	return options
}

// finish records that the executor has returned err.
func (c *Conn) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = io.EOF // nil from the executor does not mean success
	}
	if c.isOpen() {
		if frameErr := c.socket.frameErr.Load(); frameErr != nil {
			err = *frameErr
		}
	}
	c.err, c.finished = err, true
	c.changed.Broadcast()
}

// Close closes the connection and waits for the executor. It may be called
// repeatedly.
func (c *Conn) Close() {
	c.closing.Do(func() {
		// The connection is closed first. Otherwise the executor would close
		// the remote stdin, as if the input were complete, or block in a write.
		c.closeSocket()
		c.mu.Lock()
		c.isClosed = true
		c.changed.Broadcast()
		c.mu.Unlock()
		_ = c.input.Close() // returns nil
		close(c.closed)
		c.cancel()
	})
	<-c.done
	c.closeSocket() // the executor may have opened it in the meantime
}

func (c *Conn) closeSocket() {
	if c.isOpen() {
		_ = c.socket.Close() // returns nil
	}
}

func (c *Conn) isOpen() bool {
	select {
	case <-c.opened:
		return true
	default:
		return false
	}
}

// upgrader makes the handshake for the executor.
type upgrader struct{ c *Conn }

// RoundTrip implements http.RoundTripper. It does not follow redirects.
func (u upgrader) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
	req.Header.Set(httpstream.HeaderUpgrade, Version)
	resp, err := u.c.transport.RoundTrip(req)
	if err == nil {
		u.c.body, err = u.c.accept(resp)
	}
	if err != nil {
		u.c.handshakeErr = err
		return nil, err
	}
	resp.Body = http.NoBody // client-go closes the body, but must not close the connection
	return resp, nil
}

// NewConnection implements httpstream.UpgradeRoundTripper. It does not enable
// periodic pings: a ping to a server that has closed the connection is answered
// with an RST, which destroys the output in transit.
func (u upgrader) NewConnection(*http.Response) (httpstream.Connection, error) {
	u.c.socket = newSocket(u.c.body)
	conn, err := spdy.NewClientConnection(u.c.socket)
	if err != nil {
		return nil, err
	}
	close(u.c.opened)
	return connection{conn, u.c}, nil
}

// errPanicked means that the goroutine that creates a stream has panicked.
var errPanicked = errors.New("a goroutine of the connection panicked")
