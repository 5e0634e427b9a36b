package stream

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	spdytransport "k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"kshell/internal/group"
)

// SPDY begins what Protocol says of a Conn that DialSPDY has opened; a blank and the name of the streams' protocol follow.
const SPDY = spdy.HeaderSpdy31

// spdyProtocols are those whose end is a Status, best first (k8s.io/apimachinery/pkg/util/remotecommand): the older ones, for
// which silence is success, are for servers before Kubernetes 1.4. Both can half-close a stdin.
var spdyProtocols = []string{V5, V4}

// DialSPDY is Dial by SPDY instead of WebSocket, for exec and attach: a POST, for which the right to create is enough, and which some
// proxies pass that no WebSocket can. Of r the path and the query count; the query's stdin, stdout, stderr and tty say which streams
// there are (core/v1 PodExecOptions). The Conn knows how to half-close stdin and ends with a Status; it cannot be asked for a
// sign of life, so a Session that sends much input asks Stuck whenever nothing comes. Nothing has run when an error is returned.
//
// client-go's remotecommand carries the streams. What it returns at their end is not believed: it takes an error stream that ends
// without a word, which is what a cut connection looks like, for success. Here the bytes of that stream are looked at, and
// success is an explicit one. They are looked at when remotecommand has delivered both outputs to their ends: the server sends the
// Status behind them on the same connection, so outputs are whole when there is one.
func (d *Dialer) DialSPDY(ctx context.Context, r Request) (*Conn, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, d.within, d.late("SPDY"))
	defer cancel()
	transport, err := d.http1()
	if err != nil {
		return nil, fmt.Errorf("connection settings: %w", err)
	}
	u := d.base.JoinPath(r.Path)
	u.RawQuery = encode(r.Query)
	s := newSPDYSocket(transport)
	if err := s.start(ctx, u, r.Query); err != nil {
		return nil, err
	}
	select {
	case <-s.opened:
	case <-s.done:
	case <-bounded.Done():
	}
	if s.isOpen() {
		return &Conn{
			ws: s, out: s.conn.out, protocol: SPDY + " " + s.protocol, codec: codec{halfClose: true, status: true},
			buf: make([]byte, readSize), start: time.Now(), in: s.in,
		}, nil
	}
	_ = s.CloseNow() // returns nil
	s.goroutines.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, d.refusal(cmp.Or(s.refused, s.err), nil, context.Cause(bounded))
}

// newHTTP1 makes the transport for SPDY handshakes: net/http keeps to HTTP/1.1 by itself only for a WebSocket's.
func newHTTP1(cfg *rest.Config) (http.RoundTripper, error) {
	own := rest.CopyConfig(cfg)
	own.NextProtos = []string{"http/1.1"}
	return rest.TransportFor(own)
}

// spdySocket makes client-go's executor look like a socket on which messages come and go. It carries one session.
//
// The executor runs in a goroutine that CloseNow waits for; a panic in it comes out of Reader. Its own goroutines end when the
// connection is closed, and so do its reads of stdin: it is given a pipe, not the stdin itself. Whatever it still holds then goes nowhere.
type spdySocket struct {
	transport http.RoundTripper
	cancel    context.CancelFunc
	closing   sync.Once

	goroutines *group.Group

	// Of the handshake, set before opened or done is closed.
	opened   chan struct{}
	body     io.ReadWriteCloser // below SPDY
	conn     *spdyConn
	protocol string
	refused  error // why the handshake failed

	done chan struct{} // closed when the executor has returned
	in   *inbound      // measures how long Reader has waited; Reader returns complete messages

	stdin *io.PipeReader // the executor's
	input *io.PipeWriter
	sizes chan remotecommand.TerminalSize // the newest that was not yet sent
	over  chan struct{}                   // closed by CloseNow

	writing sync.Mutex // held by that output which has something to hand over

	mu       sync.Mutex
	changed  sync.Cond
	closed   bool
	finished bool      // the executor has nothing more
	err      error     // that the executor had to say
	status   []byte    // what the error stream has brought
	quiet    io.Writer // the error stream, on which nothing is said from here; nil before it is open
	waiting  bool      // there is a message, begun or not
	headed   bool      // its channel has been read
	ch       channel   // it is for
	piece    []byte    // what is left of it; its owner waits until it is taken
}

func newSPDYSocket(transport http.RoundTripper) *spdySocket {
	s := &spdySocket{
		transport: transport,
		opened:    make(chan struct{}), done: make(chan struct{}), over: make(chan struct{}), in: newInbound(),
		sizes: make(chan remotecommand.TerminalSize, 1),
	}
	s.changed.L = &s.mu
	s.stdin, s.input = io.Pipe()
	return s
}

// start starts the executor. The context's values are used, its end is not.
func (s *spdySocket) start(ctx context.Context, u *url.URL, query url.Values) error {
	executor, err := remotecommand.NewSPDYExecutorForProtocols(s, spdytransport.NewUpgraderForStreaming(s), http.MethodPost, u, spdyProtocols...)
	if err != nil {
		return err
	}
	options := s.options(query)
	s.run(ctx, func(ctx context.Context) error { return executor.StreamWithContext(ctx, options) })
	return nil
}

func (s *spdySocket) run(ctx context.Context, stream func(context.Context) error) {
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.goroutines = &group.Group{OnPanic: s.cancel}
	s.goroutines.Go(func() {
		defer close(s.done)
		var err error
		defer func() { s.finish(err) }() // also in a panic: somebody waits
		err = stream(ctx)
	})
}

func (s *spdySocket) options(query url.Values) remotecommand.StreamOptions {
	wanted := func(name string) bool { return query.Get(name) == "true" }
	options := remotecommand.StreamOptions{Tty: wanted("tty"), TerminalSizeQueue: s}
	if wanted("stdin") {
		options.Stdin = s.stdin
	}
	if wanted("stdout") {
		options.Stdout = spdyOutput{s, chStdout}
	}
	if wanted("stderr") {
		options.Stderr = spdyOutput{s, chStderr}
	}
	return options
}

// RoundTrip implements http.RoundTripper for the executor's handshake: any answer but 101 is kept as a *HandshakeError, since the
// executor passes errors on as words. Redirects are not followed.
func (s *spdySocket) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
	req.Header.Set(httpstream.HeaderUpgrade, SPDY)
	resp, err := s.transport.RoundTrip(req)
	if err == nil {
		err = s.take(resp)
	}
	if err != nil {
		s.refused = err
		return nil, err
	}
	return resp, nil
}

// take takes the connection out of an answer, so that nobody else closes it.
func (s *spdySocket) take(resp *http.Response) error {
	socket, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what there is of it is worth showing
		return newHandshakeError(resp, body)
	}
	if err := checkSPDY(resp); err != nil {
		return errors.Join(err, socket.Close())
	}
	s.body, s.protocol, resp.Body = socket, resp.Header.Get(httpstream.HeaderProtocolVersion), http.NoBody
	return nil
}

func checkSPDY(resp *http.Response) error {
	if upgrade := resp.Header.Get(httpstream.HeaderUpgrade); !strings.EqualFold(upgrade, SPDY) {
		return &HandshakeError{StatusCode: resp.StatusCode, Text: fmt.Sprintf("upgrade to %q, not to %s", upgrade, SPDY)}
	}
	if selected := resp.Header.Get(httpstream.HeaderProtocolVersion); !slices.Contains(spdyProtocols, selected) {
		return &ProtocolError{Selected: selected, Offered: spdyProtocols}
	}
	return nil
}

// NewConnection implements httpstream.UpgradeRoundTripper. There are no pings on a timer: one that meets a server which has said
// everything and closed would be answered with an RST, which destroys what is still on its way.
func (s *spdySocket) NewConnection(*http.Response) (httpstream.Connection, error) {
	s.conn = newSPDYConn(s.body)
	conn, err := spdy.NewClientConnection(s.conn)
	if err != nil {
		return nil, err
	}
	close(s.opened)
	return spdyStreams{conn, s}, nil
}

func (s *spdySocket) isOpen() bool {
	select {
	case <-s.opened:
		return true
	default:
		return false
	}
}

// finish is told what the executor returned, after all that it wrote.
func (s *spdySocket) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = io.EOF // no word of an error is no word of success either
	}
	if s.isOpen() {
		if fault := s.conn.fault.Load(); fault != nil {
			err = *fault
		}
	}
	s.err, s.finished = err, true
	s.changed.Broadcast()
}

// Reader implements socket: it waits for the next message.
func (s *spdySocket) Reader(context.Context) (websocket.MessageType, io.Reader, error) {
	if !s.next() {
		s.goroutines.Wait()
		return 0, nil, s.err
	}
	return websocket.MessageBinary, (*spdyMessage)(s), nil
}

// next waits for a message or the end of the socket, which is no message. The Status is the last one.
func (s *spdySocket) next() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.wait()
	for !s.closed && !s.waiting && !s.finished {
		s.changed.Wait()
	}
	s.in.done()
	switch {
	case s.closed, s.waiting: // reading from a closed one is an error
		return true
	case len(s.status) > 0:
		s.ch, s.piece, s.status = chError, s.status, nil
		s.waiting, s.headed = true, false
		return true
	}
	return false
}

// spdyMessage reads the message that waits.
type spdyMessage spdySocket

// Read implements io.Reader.
func (m *spdyMessage) Read(p []byte) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return 0, net.ErrClosed
	case !m.waiting:
		return 0, io.EOF
	case !m.headed && len(p) > 0:
		p[0] = byte(m.ch)
		n, m.headed = 1, true
	}
	k := copy(p[n:], m.piece)
	if m.piece = m.piece[k:]; len(m.piece) == 0 {
		m.piece, m.waiting = nil, false
		m.changed.Broadcast()
		err = io.EOF
	}
	return n + k, err
}

// spdyOutput is one of the two outputs, as the executor writes them: each from a goroutine of its own.
type spdyOutput struct {
	s  *spdySocket
	ch channel
}

// Write implements io.Writer. It waits until the message has been read. It never fails: when nobody reads any more, the rest is dropped.
func (o spdyOutput) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s := o.s
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return len(p), nil
	}
	s.ch, s.piece, s.waiting, s.headed = o.ch, p, true, false
	s.changed.Broadcast()
	for s.waiting && !s.closed {
		s.changed.Wait()
	}
	return len(p), nil
}

// Write implements socket: it hands a message to the stream that it is for. Stdin is written as fast as the server takes it.
func (s *spdySocket) Write(_ context.Context, _ websocket.MessageType, message []byte) error {
	if len(message) == 0 { // nothing, but it resets the server's idle timer
		return s.writeNothing()
	}
	payload := message[headroom:]
	switch channel(message[0]) {
	case chStdin:
		_, err := s.input.Write(payload)
		return err
	case chClose:
		return s.input.Close()
	case chResize:
		var size remotecommand.TerminalSize
		if err := json.Unmarshal(payload, &size); err != nil {
			return err
		}
		s.resize(size)
	}
	return nil
}

func (s *spdySocket) writeNothing() error {
	s.mu.Lock()
	stream := s.quiet
	s.mu.Unlock()
	if stream == nil {
		return nil
	}
	_, err := stream.Write(nil)
	return err
}

// resize leaves the size for the executor, in place of one that it has not come to yet. It is called by one goroutine at a time.
func (s *spdySocket) resize(size remotecommand.TerminalSize) {
	select {
	case <-s.sizes:
	default:
	}
	s.sizes <- size
}

// Next implements remotecommand.TerminalSizeQueue.
func (s *spdySocket) Next() *remotecommand.TerminalSize {
	select {
	case size := <-s.sizes:
		return &size
	case <-s.over:
		return nil
	}
}

var errNoPing = errors.New("SPDY cannot be asked for a sign of life")

// Ping implements socket: there is none.
func (s *spdySocket) Ping(context.Context) error { return errNoPing }

// CloseNow implements socket. The connection goes first: what the executor says to the far side while it ends, such as that stdin is
// over, would not be true, and a write that hangs would hold it up.
func (s *spdySocket) CloseNow() error {
	s.closing.Do(func() {
		s.cut()
		s.mu.Lock()
		s.closed = true
		s.changed.Broadcast()
		s.mu.Unlock()
		_ = s.input.Close() // returns nil
		close(s.over)
		s.cancel()
	})
	<-s.done
	s.cut() // if it was opened meanwhile
	return nil
}

func (s *spdySocket) cut() {
	if s.isOpen() {
		_ = s.conn.Close() // returns nil
	}
}

// spdyStreams is the executor's connection. It keeps what the error stream brings.
type spdyStreams struct {
	httpstream.Connection
	s *spdySocket
}

// answering is how long an answer that was received before the connection ended may take
// to be delivered.
const answering = time.Second

// CreateStream implements httpstream.Connection. It returns an error if the connection
// ends, whereas the library waits 30 s for an answer.
func (c spdyStreams) CreateStream(headers http.Header) (httpstream.Stream, error) {
	type created struct {
		stream httpstream.Stream
		err    error
	}
	headers = headers.Clone() // the caller changes it afterwards
	answer := make(chan created, 1)
	creating := group.Group{OnPanic: func() { answer <- created{err: errPanicked} }}
	creating.Go(func() { // ends after 30 s at the latest; it is not waited for
		stream, err := c.Connection.CreateStream(headers)
		answer <- created{stream, err}
	})
	var a created
	select {
	case a = <-answer:
	case <-c.CloseChan():
		select {
		case a = <-answer: // it was in transit, and all output of a short command may follow
		case <-time.After(answering):
			a.err = io.ErrUnexpectedEOF
		}
	}
	switch {
	case errors.Is(a.err, errPanicked):
		creating.Wait() // panics
		return nil, a.err
	case a.err != nil:
		return nil, a.err
	case headers.Get("streamType") == "error": // core/v1 StreamType, StreamTypeError
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		c.s.quiet = a.stream
		return errorStream{a.stream, c.s}, nil
	default:
		return unfailing{a.stream, c.s.over}, nil
	}
}

// errorStream is the stream that carries the Status.
type errorStream struct {
	httpstream.Stream
	s *spdySocket
}

// Read implements io.Reader. The executor reads the whole stream into memory, so Read
// ends a stream that is larger than maxMessage.
func (e errorStream) Read(p []byte) (int, error) {
	n, err := e.Stream.Read(p)
	if e.s.keep(p[:n]) > maxMessage {
		e.s.cut()
		_, _ = io.Copy(io.Discard, e.Stream) // the library waits until the data received before the cut is read
		return 0, errStatusSize
	}
	return n, err
}

// keep appends p to status, up to maxMessage+1 bytes, and returns the length of status. A
// status longer than maxMessage is an error, which Read returns.
func (s *spdySocket) keep(p []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := maxMessage + 1 - len(s.status); !s.finished {
		s.status = append(s.status, p[:min(len(p), room)]...)
	}
	return len(s.status)
}

// unfailing is a stream whose Write never fails: the executor would log the error. The
// readers detect a dead connection.
type unfailing struct {
	httpstream.Stream
	over <-chan struct{} // closed when nothing more is written
}

// Write implements io.Writer.
func (u unfailing) Write(p []byte) (int, error) {
	if _, err := u.Stream.Write(p); err != nil {
		<-u.over
	}
	return len(p), nil
}

// spdyConn is the connection below SPDY. It buffers reads and writes, because the library
// reads and writes very small pieces.
type spdyConn struct {
	net.Conn // nil: the library asks for no address and sets no deadline
	in       *bufio.Reader
	frames   spdyFrames
	fault    atomic.Pointer[error] // the error of spdyFrames, after which nothing more is read
	out      *gather
	close    func()
}

func newSPDYConn(socket io.ReadWriteCloser) *spdyConn {
	out := newGather(socket)
	return &spdyConn{
		in: bufio.NewReaderSize(socket, readSize), out: out,
		close: sync.OnceFunc(func() { _ = out.Close() }), // an error means that it was closed already
	}
}

// Read implements net.Conn.
func (c *spdyConn) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	if fault := c.frames.check(p[:n]); fault != nil {
		c.fault.Store(&fault)
		return 0, fault
	}
	return n, err
}

// Write implements net.Conn.
func (c *spdyConn) Write(p []byte) (int, error) { return c.out.Write(p) }

// Close implements net.Conn. It may be called repeatedly, and always returns nil: the
// library would block to report an error.
func (c *spdyConn) Close() error {
	c.close()
	return nil
}

// maxFrame is the maximum size of a frame from the server, in bytes; servers write frames
// of 32 KiB. The library holds whole frames in memory, up to 50 for each stream that is
// not read, and would accept 16 MiB for each frame.
const maxFrame = maxMessage

var (
	errFrameSize   = errors.New("the server's SPDY frame is larger than 4 MiB")
	errFrameStream = errors.New("the server opens SPDY streams")
)

// spdyFrames checks the headers of the frames (SPDY/3.1, section 2.2) that the server sends.
type spdyFrames struct {
	header  [8]byte
	have    int // the number of bytes in header
	payload int // the number of bytes of the frame that are missing
}

// check checks the next bytes.
func (f *spdyFrames) check(p []byte) error {
	for len(p) > 0 {
		n := min(f.payload, len(p))
		f.payload -= n
		p = p[n:]
		n = copy(f.header[f.have:], p)
		f.have += n
		p = p[n:]
		if f.have < len(f.header) {
			continue
		}
		f.have, f.payload = 0, int(binary.BigEndian.Uint32(f.header[4:])&0xffffff)
		const control, synStream = 0x80, 1
		switch {
		case f.payload > maxFrame:
			return errFrameSize
		case f.header[0]&control != 0 && binary.BigEndian.Uint16(f.header[2:]) == synStream:
			return errFrameStream
		}
	}
	return nil
}
