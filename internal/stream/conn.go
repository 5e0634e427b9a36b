package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	// readSize is the size of the buffer for a piece of a message, in bytes.
	// Servers send messages of at most 32 KiB.
	readSize = 32<<10 + headroom
	// maxMessage is the maximum size of a text message or a status, in bytes.
	// Both are held in memory as a whole.
	maxMessage = 4 << 20
)

// socket is the part of *websocket.Conn that a Conn uses; *spdySocket
// implements it, too. CloseNow makes blocked calls return, and may be called
// repeatedly.
type socket interface {
	Reader(ctx context.Context) (websocket.MessageType, io.Reader, error)
	Write(ctx context.Context, kind websocket.MessageType, message []byte) error
	Ping(ctx context.Context) error
	CloseNow() error
}

// webSocket is a WebSocket on which a short message is written at once.
type webSocket struct {
	*websocket.Conn
	out *bufferedConn
}

// Write implements socket.
func (s webSocket) Write(ctx context.Context, kind websocket.MessageType, message []byte) error {
	s.out.hold()
	defer s.out.release()
	return s.Conn.Write(ctx, kind, message)
}

// Conn is one connection, from its handshake to its end. It is used once.
type Conn struct {
	ws       socket
	out      *bufferedConn // the connection that ws reads and writes; nil for an HTTP answer
	protocol string
	codec    codec
	prober   *prober // of the server; may be nil
	tcp      *tcpConn

	// Used by the goroutine that reads: the one in run or waitForStart.
	buf    []byte // one piece of a binary message, or one whole text message
	text   []byte // a text message's payload
	status statusReader
	first  channel
	kept   []byte // the output that waitForStart has read; the field first is its channel
	awaits sign   // the sign of the command's start that is still expected
	began  func() // called when the sign in awaits arrives; set by onStart

	// Used by the goroutine that runs the link.
	openedAt  time.Time // when Driver.Opened was called, or zero
	endedAt   time.Time // when the last message was read, or zero
	delivered bool      // output or an event was delivered
	accepted  bool      // Relay.Accept was called for the connection

	// Used by the goroutines that write (stdin, resize).
	writing sync.Mutex
	scratch []byte

	// Used by all goroutines.
	reads        *readTimer // measures the silence of the server
	start        time.Time
	waitingSince atomic.Int64          // when the reader began to wait for a piece, in nanoseconds after start
	sent         atomic.Int64          // bytes of stdin
	writes       atomic.Int32          // the number of writes in progress
	failedChecks atomic.Int32          // the number of consecutive calls of CheckStuck that got no answer
	fatal        atomic.Pointer[error] // the first reason passed to Drop
}

// newConn returns a Conn for ws, which reads and writes through out. The
// subprotocol of ws must be one of those offered.
func newConn(ws *websocket.Conn, out *bufferedConn) *Conn {
	ws.SetReadLimit(-1) // most messages are read in pieces; readMessage limits those that are held as a whole
	return &Conn{
		ws: webSocket{ws, out}, out: out, reads: out.reads, protocol: ws.Subprotocol(), codec: codecs[ws.Subprotocol()],
		buf: make([]byte, readSize), start: time.Now(), tcp: new(tcpConn),
	}
}

// Protocol returns the subprotocol that the server selected, with the prefix
// "SPDY/3.1 " if the transport is SPDY. For a plain message stream, it is empty,
// or "HTTP" if the messages arrive in an HTTP answer.
func (c *Conn) Protocol() string { return c.protocol }

// lived returns the time between openedAt and endedAt; 0 if Driver.Opened was
// not called.
func (c *Conn) lived() time.Duration {
	if c.openedAt.IsZero() {
		return 0
	}
	return c.endedAt.Sub(c.openedAt)
}

// worked reports whether the connection has delivered something, or was open
// for at least livedAfter.
func (c *Conn) worked() bool { return c.delivered || c.lived() >= livedAfter }

func (c *Conn) close() { _ = c.ws.CloseNow() } // an error means that it was closed already

// end closes the connection. If the goroutine of c.out has panicked, end
// panics, too.
func (c *Conn) end() {
	c.close()
	c.out.wait()
}

// run copies the remote's output until the command or the connection ends, and
// closes the connection. It returns nil, *ExitError, *RemoteError, *LostError,
// *OutputError, or the context's cause.
func (c *Conn) run(ctx context.Context, stdout, stderr io.Writer) error {
	defer c.close()
	defer context.AfterFunc(ctx, c.close)()
	defer func() { c.endedAt = time.Now() }()
	done := false
	deliver := func(ch channel, p []byte) error {
		c.delivered = c.delivered || ch == chStdout || ch == chStderr
		c.saw(signOutput)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case ch == chStdout:
			return output(stdout, p)
		case ch == chStderr:
			return output(stderr, p)
		case ch == chError:
			var err error
			done, err = c.addStatus(p)
			return err
		}
		return nil
	}
	var err error
	if len(c.kept) > 0 {
		err = deliver(c.first, c.kept)
	}
	for err == nil && !done {
		err = c.receive(deliver)
	}
	return c.outcome(ctx, done, err)
}

// sign is a sign that the remote has started the command.
type sign int32

const (
	signNone    sign = iota // no sign is expected
	signMessage             // any message: servers first send an empty one, on the lowest output channel
	signOutput              // output of the command, or a Status
)

// onStart makes the goroutine that reads call began once, when the awaited sign
// arrives. onStart must be called before the first read.
func (c *Conn) onStart(awaited sign, began func()) { c.awaits, c.began = awaited, began }

// saw is called when the sign seen has arrived. It calls began if that sign is
// the expected one, or implies the expected one.
func (c *Conn) saw(seen sign) {
	if c.awaits != signNone && seen >= c.awaits {
		c.awaits = signNone
		c.began()
	}
}

// waitForStart reads until the expected sign arrives. Output that it has read
// is kept, and run delivers it. If begun is false, the command or the
// connection has ended before the sign, waitForStart has closed the connection,
// and err is what run would have returned.
func (c *Conn) waitForStart(ctx context.Context) (begun bool, err error) {
	defer context.AfterFunc(ctx, c.close)()
	done := false
	for err == nil && !done && c.awaits != signNone {
		err = c.receive(func(ch channel, p []byte) (err error) {
			switch ch {
			case chError:
				done, err = c.addStatus(p)
			case chStdout, chStderr:
				err = c.keep(ch, p)
			}
			return err
		})
		if len(c.kept) > 0 {
			c.saw(signOutput)
			return true, nil
		}
	}
	if err == nil && !done {
		return true, nil
	}
	c.close()
	return false, c.outcome(ctx, done, err)
}

// keep stores p, a piece of the first output message. run delivers it.
func (c *Conn) keep(ch channel, p []byte) error {
	if len(c.kept)+len(p) > maxMessage {
		c.Drop(errMessageSize)
		return errMessageSize
	}
	c.first, c.kept = ch, append(c.kept, p...)
	return nil
}

// errNoOutput means that a connection after the first one delivered no output
// within Settings.Proof, or reported success before any output.
var errNoOutput = errors.New("the new connection delivered no output")

// outcome returns the result of the command after the last message was read.
// done means that the status is complete.
func (c *Conn) outcome(ctx context.Context, done bool, err error) error {
	switch fatal := c.fatal.Load(); {
	case done:
		return statusOutcome(c.status.raw)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case fatal != nil:
		return &LostError{*fatal}
	}
	return c.ended(err)
}

// addStatus processes the next piece of the error channel, and reports whether
// a Status is complete. If the subprotocol has no Status, whole is always
// false.
func (c *Conn) addStatus(p []byte) (whole bool, err error) {
	whole, err = c.status.add(p)
	return whole && c.codec.status, err
}

// OutputError means that the remote's output could not be written to a local
// stream.
type OutputError struct{ Err error }

func (e *OutputError) Error() string { return "cannot write the output: " + e.Err.Error() }
func (e *OutputError) Unwrap() error { return e.Err }

func output(w io.Writer, p []byte) error {
	if _, err := w.Write(p); err != nil {
		return &OutputError{err}
	}
	return nil
}

// LostError means that the connection ended before the outcome of the command
// was reported. The command may still be running.
type LostError struct{ Err error }

func (e *LostError) Error() string { return "connection lost: " + plain(e.Err) }
func (e *LostError) Unwrap() error { return e.Err }

// ended returns the result of the command after the connection has ended with
// err.
func (c *Conn) ended(err error) error {
	var unwritable *OutputError
	switch {
	case errors.As(err, &unwritable):
		return unwritable
	case errors.Is(err, errStatusSize):
		return &RemoteError{Message: err.Error()}
	case len(c.status.raw) > 0 && c.codec.status:
		return statusOutcome(c.status.raw) // if the text is not JSON, the error contains the text
	case websocket.CloseStatus(err) == websocket.StatusNormalClosure && !c.codec.status:
		return textOutcome(c.status.raw)
	}
	return &LostError{err}
}

// receive reads one message and delivers it. With a binary subprotocol, it
// delivers the pieces as they arrive. Pieces are never empty, and are valid
// until deliver returns. Empty messages are dropped. receive does not allocate.
func (c *Conn) receive(deliver func(channel, []byte) error) error {
	// The context is not passed to ws, because that would cost one allocation
	// for each message. When the context ends, the caller closes the
	// connection, which ends the read.
	c.startWait()
	_, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return err
	}
	c.saw(signMessage)
	if c.codec.text {
		return c.receiveText(r, deliver)
	}
	return c.receiveBinary(r, deliver)
}

// receiveBinary delivers a message in pieces. The first byte of the message is
// the channel.
func (c *Conn) receiveBinary(r io.Reader, deliver func(channel, []byte) error) error {
	var ch channel
	begun := false
	for {
		c.startWait()
		n, err := r.Read(c.buf)
		piece := c.buf[:n]
		if n > 0 && !begun {
			ch, piece, begun = channel(piece[0]), piece[headroom:], true
		}
		if len(piece) > 0 {
			if err := deliver(ch, piece); err != nil {
				return err
			}
		}
		if err != nil {
			return endOfMessage(err)
		}
	}
}

func endOfMessage(err error) error {
	if err == io.EOF { //nolint:errorlint // io.EOF itself ends a message; a wrapped one means a lost connection
		return nil
	}
	return err
}

func (c *Conn) receiveText(r io.Reader, deliver func(channel, []byte) error) error {
	c.startWait()
	message, err := c.readMessage(r)
	if err != nil || len(message) == 0 {
		return err
	}
	var ch channel
	if ch, c.text, err = decodeText(message, c.text); err != nil || len(c.text) == 0 {
		return err
	}
	return deliver(ch, c.text)
}

// errMessageSize means that a message is larger than maxMessage.
var errMessageSize = errors.New("the server's message is larger than 4 MiB")

// readMessage reads a whole message into buf.
func (c *Conn) readMessage(r io.Reader) ([]byte, error) {
	c.buf = c.buf[:cap(c.buf)]
	for n := 0; ; {
		if n == len(c.buf) {
			c.buf = append(c.buf, make([]byte, n)...)
		}
		k, err := r.Read(c.buf[n:])
		n += k
		switch {
		case n > maxMessage:
			return nil, errMessageSize
		case err != nil:
			return c.buf[:n], endOfMessage(err)
		}
	}
}

// messages receives messages, and passes each message that is not empty to
// deliver, until the connection or ctx ends or deliver returns an error. The
// bytes of a message are valid until deliver returns. messages returns a
// *LostError, the context's cause, or the error of deliver.
func (c *Conn) messages(ctx context.Context, deliver func([]byte) error) error {
	for {
		message, err := c.nextMessage()
		fatal := c.fatal.Load()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && fatal != nil:
			return &LostError{*fatal}
		case err != nil:
			return &LostError{err}
		case len(bytes.TrimSpace(message)) == 0:
			continue
		}
		if err := deliver(message); err != nil {
			return err
		}
	}
}

func (c *Conn) nextMessage() ([]byte, error) {
	c.startWait()
	_, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return nil, err
	}
	return c.readMessage(r)
}

// send writes buf[headroom:] as one message on ch. The message is a single
// frame, because container runtimes mistake the first byte of a continuation
// frame for a channel. While the remote process does not read its stdin, send
// may block until the connection is closed. An empty payload is not sent,
// because an empty stdin message can block the server.
func (c *Conn) send(ch channel, buf []byte) error {
	if len(buf) == headroom {
		return nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if ch == chStdin {
		c.sent.Add(int64(len(buf) - headroom))
	}
	var message []byte
	message, c.scratch = c.codec.encode(ch, buf, c.scratch)
	return c.write(message)
}

// closeStdin closes the stdin of the remote process, if the subprotocol
// supports that.
func (c *Conn) closeStdin() error {
	if !c.codec.halfClose {
		return nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.write([]byte{byte(chClose), byte(chStdin)})
}

// write writes a message. The caller holds c.writing. The caller must not end
// the session because of an error: the outcome may still be in transit, and the
// goroutine that reads returns it.
func (c *Conn) write(message []byte) error {
	c.writes.Add(1)
	defer c.writes.Add(-1)
	kind := websocket.MessageBinary
	if c.codec.text {
		kind = websocket.MessageText
	}
	return c.ws.Write(context.Background(), kind, message)
}

func (c *Conn) startWait() { c.waitingSince.Store(int64(time.Since(c.start))) }

// quiet returns how long the goroutine that reads has waited for the next piece
// of a message. Answers to pings do not count as pieces. quiet returns 0 while
// that goroutine does not wait for the network, for example because a write to
// Stdout blocks.
func (c *Conn) quiet() time.Duration {
	if c.reads.silence() == 0 {
		return 0
	}
	return time.Since(c.start) - time.Duration(c.waitingSince.Load())
}

// state returns the state of the link for liveness.check.
func (c *Conn) state() linkState {
	return linkState{
		silence: c.reads.silence(), sent: c.sent.Load(), writing: c.writes.Load() > 0,
		tcp: c.tcp.state(), unchecked: c.failedChecks.Load() >= checksInVain,
	}
}

// pong reports whether the server answers a ping within a time limit. A server
// does not answer while it is blocked by stdin that the command does not read.
func (c *Conn) pong(ctx context.Context, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return c.ping(ctx)
}

// ping sends a ping and reports whether the server answers before ctx ends.
func (c *Conn) ping(ctx context.Context) bool { return c.ws.Ping(ctx) == nil }

// Drop closes the connection. If the status is not complete yet, the outcome is
// a *LostError that wraps the reason of the first Drop. Any goroutine may call
// it.
func (c *Conn) Drop(reason error) {
	c.fatal.CompareAndSwap(nil, &reason)
	c.close()
}

// resetIdleTimer resets the idle timer of the server. It sends a message on the
// stdout channel that consists of the channel's number only. Servers discard
// messages on output channels. The message has one byte and is not empty,
// because proxies that record sessions may treat an empty message as an error.
func (c *Conn) resetIdleTimer() {
	if !c.writing.TryLock() {
		return // another message is being written, which has the same effect
	}
	defer c.writing.Unlock()
	var message []byte
	message, c.scratch = c.codec.encode(chStdout, make([]byte, headroom), c.scratch)
	_ = c.write(message) // an error is ignored: the goroutine that reads detects a lost connection
}
