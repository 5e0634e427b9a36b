package stream

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	// readSize is how much of a message is handed on at once, in bytes: the servers' messages are 32 KiB at most.
	readSize = 32<<10 + headroom
	// maxMessage bounds what has to be held whole, in bytes: a text message, a status.
	maxMessage = 4 << 20
)

// socket is what a Conn needs of a *websocket.Conn; *spdySocket is the other one. CloseNow ends the other calls, and may be repeated.
type socket interface {
	Reader(ctx context.Context) (websocket.MessageType, io.Reader, error)
	Write(ctx context.Context, kind websocket.MessageType, message []byte) error
	Ping(ctx context.Context) error
	CloseNow() error
}

// Conn is one socket, from its handshake to its end. It is used once.
type Conn struct {
	ws       socket
	out      *gather // below ws
	protocol string
	codec    codec

	// Used by the goroutine that reads: the one in run or await.
	buf    []byte // one piece of a binary message, or one whole text message
	text   []byte // a text message's payload
	status statusReader
	first  channel
	word   []byte // output that await has read, on the channel first
	awaits sign   // what still counts as the beginning of the command
	began  func() // called when it has come; set with awaits

	// Used by the goroutine that runs the link.
	openedAt, endedAt time.Time // when it was opened for its user, and when its last message was read; zero: not yet
	delivered         bool      // output, or an event

	// Used by the goroutines that write (stdin, resize).
	writing sync.Mutex
	scratch []byte

	// Used by all goroutines.
	in     *inbound // what arrives on the socket
	start  time.Time
	waits  atomic.Int64          // when the reader began to wait for the next piece of a message, in nanoseconds after start
	sent   atomic.Int64          // bytes of stdin
	writes atomic.Int32          // that have not returned
	fatal  atomic.Pointer[error] // the first reason given to die
}

// newConn takes over ws, whose subprotocol was offered, and which reads and writes through out.
func newConn(ws *websocket.Conn, out *gather) *Conn {
	ws.SetReadLimit(-1) // messages are read in pieces; what is held whole is bounded in receive
	return &Conn{
		ws: ws, out: out, in: out.in, protocol: ws.Subprotocol(), codec: codecs[ws.Subprotocol()],
		buf: make([]byte, readSize), start: time.Now(),
	}
}

// Protocol returns the subprotocol that the server selected, with the prefix "SPDY/3.1 " if the transport is SPDY. It is empty for a
// plain message stream.
func (c *Conn) Protocol() string { return c.protocol }

// HalfCloses reports whether the subprotocol can tell the remote process that its stdin has ended.
func (c *Conn) HalfCloses() bool { return c.codec.halfClose }

// lived returns how long the socket was open for its user.
func (c *Conn) lived() time.Duration {
	if c.openedAt.IsZero() {
		return 0
	}
	return c.endedAt.Sub(c.openedAt)
}

// worked reports whether the socket has delivered something, or lived long enough to count as one that could have.
func (c *Conn) worked() bool { return c.delivered || c.lived() >= livedAfter }

func (c *Conn) close() { _ = c.ws.CloseNow() } // its error would only say that it was closed already

// end closes the socket for the goroutine that has used it, and passes on a panic of the one that wrote to it.
func (c *Conn) end() {
	c.close()
	c.out.wait()
}

// run copies the remote's output until the verdict, and returns it: nil, *ExitError, *RemoteError, *LostError, *OutputError, or the
// context's cause. It closes the socket.
func (c *Conn) run(ctx context.Context, stdout, stderr io.Writer) error {
	defer c.close()
	defer context.AfterFunc(ctx, c.close)()
	defer func() { c.endedAt = time.Now() }()
	done := false
	deliver := func(ch channel, p []byte) error {
		c.delivered = c.delivered || ch == chStdout || ch == chStderr
		c.see(signOutput)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case ch == chStdout:
			return output(stdout, p)
		case ch == chStderr:
			return output(stderr, p)
		case ch == chError:
			var err error
			done, err = c.hear(p)
			return err
		}
		return nil
	}
	var err error
	if len(c.word) > 0 {
		err = deliver(c.first, c.word)
	}
	for err == nil && !done {
		err = c.receive(deliver)
	}
	return c.outcome(ctx, done, err)
}

// sign is what shows that the far side has begun to serve a command.
type sign int32

const (
	signNone    sign = iota // nothing is awaited
	signMessage             // any message: a server's first one is empty, on the lowest output channel
	signOutput              // output of the command, or a Status
)

// expect has began called, once, from the reader's goroutine, when the sign has come. It is called before the first read.
func (c *Conn) expect(awaited sign, began func()) { c.awaits, c.began = awaited, began }

// see takes note of a message, or of output in it.
func (c *Conn) see(seen sign) {
	if c.awaits != signNone && seen >= c.awaits {
		c.awaits = signNone
		c.began()
	}
}

// await reads until the sign that expect was given has come; output in it is left for run. Not begun: the command has ended before, or the
// socket has, and err is what run would return; the socket is closed.
func (c *Conn) await(ctx context.Context) (begun bool, err error) {
	defer context.AfterFunc(ctx, c.close)()
	done := false
	for err == nil && !done && c.awaits != signNone {
		err = c.receive(func(ch channel, p []byte) (err error) {
			switch ch {
			case chError:
				done, err = c.hear(p)
			case chStdout, chStderr:
				err = c.keep(ch, p)
			}
			return err
		})
		if len(c.word) > 0 {
			c.see(signOutput)
			return true, nil
		}
	}
	if err == nil && !done {
		return true, nil
	}
	c.close()
	return false, c.outcome(ctx, done, err)
}

// keep keeps a piece of the first message for run.
func (c *Conn) keep(ch channel, p []byte) error {
	if len(c.word)+len(p) > maxMessage {
		c.die(errMessageSize)
		return errMessageSize
	}
	c.first, c.word = ch, append(c.word, p...)
	return nil
}

// errNoOutput means that a socket after the first one has brought no output in time.
var errNoOutput = errors.New("the new connection brought no output")

// outcome returns the result of the command when no more messages are read; done: the status is whole.
func (c *Conn) outcome(ctx context.Context, done bool, err error) error {
	switch fatal := c.fatal.Load(); {
	case done:
		return verdict(c.status.raw)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case fatal != nil:
		return &LostError{*fatal}
	}
	return c.ended(err)
}

// hear takes the next piece of the error channel, and reports whether it is a whole Status.
func (c *Conn) hear(p []byte) (whole bool, err error) {
	whole, err = c.status.add(p)
	return whole && c.codec.status, err
}

// OutputError means that a local stream does not accept the remote's output any more.
type OutputError struct{ Err error }

func (e *OutputError) Error() string { return "cannot write the output: " + e.Err.Error() }
func (e *OutputError) Unwrap() error { return e.Err }

func output(w io.Writer, p []byte) error {
	if _, err := w.Write(p); err != nil {
		return &OutputError{err}
	}
	return nil
}

// LostError means that the connection ended without a report of how the command ended: it may still be running.
type LostError struct{ Err error }

func (e *LostError) Error() string { return "connection lost: " + plain(e.Err) }
func (e *LostError) Unwrap() error { return e.Err }

// ended returns the result of the command when the socket has ended, with err.
func (c *Conn) ended(err error) error {
	var unwritable *OutputError
	switch {
	case errors.As(err, &unwritable):
		return unwritable
	case errors.Is(err, errStatusSize):
		return &RemoteError{Message: err.Error()}
	case len(c.status.raw) > 0 && c.codec.status:
		return verdict(c.status.raw) // not JSON: the text is shown
	case websocket.CloseStatus(err) == websocket.StatusNormalClosure && !c.codec.status:
		return plainVerdict(c.status.raw)
	}
	return &LostError{err}
}

// receive reads one message and delivers it, in pieces as they come where the subprotocol is binary. Empty messages are dropped.
// It does not allocate. The pieces are not empty, and valid until deliver returns.
func (c *Conn) receive(deliver func(channel, []byte) error) error {
	// The context is not passed to ws: that would cost an allocation a message. Closing ends the read.
	c.waitsForPiece()
	_, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return err
	}
	c.see(signMessage)
	if c.codec.text {
		return c.receiveText(r, deliver)
	}
	return c.receiveBinary(r, deliver)
}

// receiveBinary delivers a message in pieces, of which the first one begins with the channel.
func (c *Conn) receiveBinary(r io.Reader, deliver func(channel, []byte) error) error {
	var ch channel
	begun := false
	for {
		c.waitsForPiece()
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
	if err == io.EOF { //nolint:errorlint // the very value that ends a message; a wrapped EOF is a cut connection
		return nil
	}
	return err
}

func (c *Conn) receiveText(r io.Reader, deliver func(channel, []byte) error) error {
	c.waitsForPiece()
	message, err := c.whole(r)
	if err != nil || len(message) == 0 {
		return err
	}
	var ch channel
	if ch, c.text, err = decodeText(message, c.text); err != nil || len(c.text) == 0 {
		return err
	}
	return deliver(ch, c.text)
}

// errMessageSize is why a message is not read to its end.
var errMessageSize = errors.New("the server's message is larger than 4 MiB")

// whole reads a message to its end into buf.
func (c *Conn) whole(r io.Reader) ([]byte, error) {
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

// send writes buf[headroom:] as one message on ch, in one frame: runtimes take the first byte of a continuation for a channel. It may
// block for as long as the far side does not read; closing the socket ends that. An empty payload is not sent: an empty
// stdin message can block the server.
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

// closeStdin tells the remote process that its stdin has ended, where the subprotocol can (HalfCloses).
func (c *Conn) closeStdin() error {
	if !c.codec.halfClose {
		return nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.write([]byte{byte(chClose), byte(chStdin)})
}

// write is called with writing held. An error here is no verdict: the true one is often still on its way to the reader.
func (c *Conn) write(message []byte) error {
	c.writes.Add(1)
	defer c.writes.Add(-1)
	kind := websocket.MessageBinary
	if c.codec.text {
		kind = websocket.MessageText
	}
	return c.ws.Write(context.Background(), kind, message)
}

func (c *Conn) waitsForPiece() { c.waits.Store(int64(time.Since(c.start))) }

// quiet returns how long the reader has waited for the next piece of a message; the answers to pings are not part of one. It is 0 while
// the reader does not wait for the network, for instance because the consumer of the output is paused.
func (c *Conn) quiet() time.Duration {
	if c.in.silence() == 0 {
		return 0
	}
	return time.Since(c.start) - time.Duration(c.waits.Load())
}

// state is what a check of the link is based on.
func (c *Conn) state() linkState {
	return linkState{silence: c.in.silence(), sent: c.sent.Load(), writing: c.writes.Load() > 0}
}

// pong reports whether the server answers a ping in time. A server that is blocked in writing a remote's stdin does not.
func (c *Conn) pong(ctx context.Context, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return c.ping(ctx)
}

// ping sends a ping, waits for the answer, and reports whether one came before the end of the context.
func (c *Conn) ping(ctx context.Context) bool { return c.ws.Ping(ctx) == nil }

// die closes the socket; its loss then has the reason given.
func (c *Conn) die(reason error) {
	c.fatal.CompareAndSwap(nil, &reason)
	c.close()
}

// sendNothing sends an empty message, which every server ignores.
func (c *Conn) sendNothing() {
	if !c.writing.TryLock() {
		return // another message is being written, which has the same effect
	}
	defer c.writing.Unlock()
	_ = c.write(nil) // the reader notices an error
}
