package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// SPDY begins Session.Subprotocol if the session is over SPDY. A space and the
// protocol of the streams follow.
//
// A Fault that is not specific to WebSocket applies to SPDY as well: refusals,
// Wait, ErrorChannel, Rate, LateReset, the faults of the command's streams, and
// all actions except SaySuccess.
const SPDY = spdy.HeaderSpdy31

// spdyStreamsTimeout is how long a client has to open its streams.
const spdyStreamsTimeout = 30 * time.Second

func isSPDY(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get(httpstream.HeaderConnection)), "upgrade") &&
		strings.EqualFold(r.Header.Get(httpstream.HeaderUpgrade), SPDY)
}

// streamSPDY makes the checks of the kubelet and upgrades to SPDY. For
// WebSocket, the method stream does this.
func (s *Server) streamSPDY(w http.ResponseWriter, r *http.Request, c call, o options) {
	target := s.container(c.key(), o.container)
	if o.attach && target != nil {
		o.tty = target.spec.TTY
	}
	if o.tty {
		o.stderr = false
	}
	offered := r.Header.Values(httpstream.HeaderProtocolVersion)
	protocol, known := chooseSPDY(offered)
	switch {
	case target == nil || target.running() == nil:
		http.Error(w, errContainerNotFound(c, o).Error(), http.StatusInternalServerError)
		return
	case !known:
		http.Error(w, fmt.Sprintf("unable to upgrade: unable to negotiate protocol: client supports %v", offered),
			http.StatusForbidden)
		return
	}
	hw := newHijacker(s, w, r, c.fault)
	conn, opened, err := upgradeSPDY(hw, protocol)
	if err != nil {
		if hw.conn != nil {
			hw.conn.abandon()
		}
		return
	}
	record := &Session{
		Path: r.URL.Path, Query: c.query, User: c.user, Offered: offered, Subprotocol: SPDY + " " + protocol, Open: true,
	}
	s.records.add(record)
	ses := &session{srv: s, options: o, record: record, conn: conn, sock: hw.conn, protocol: protocol}
	ses.helpers.Go(func() { // the client or the server closes conn
		<-conn.CloseChan()
		_ = hw.conn.Close()
	})
	if ses.streams = o.acceptSPDYStreams(opened, hw.conn.closed); ses.streams != nil {
		ses.serve(target, nil)
	} else {
		_ = conn.Close()
		ses.helpers.Wait()
	}
	hw.conn.finish()
	s.records.change(func() { record.Open = false })
}

// chooseSPDY returns the first offered protocol in which errors are sent as a
// Status, that is, v5 or v4.
func chooseSPDY(offered []string) (protocol string, ok bool) {
	i := slices.IndexFunc(offered, func(name string) bool { return name == protocolV5 || name == protocolV4 })
	if i < 0 {
		return "", false
	}
	return offered[i], true
}

// spdyStream is a stream that the client has opened. It must not be written to
// before replied is closed.
type spdyStream struct {
	httpstream.Stream
	replied <-chan struct{}
}

// upgradeSPDY answers 101 and starts SPDY. It uses the hijacked connection, so
// that faults apply to the answer and to SPDY. The returned channel delivers
// the streams that the client opens.
func upgradeSPDY(hw *hijacker, protocol string) (httpstream.Connection, <-chan spdyStream, error) {
	_, rw, err := hw.Hijack()
	if err != nil {
		return nil, nil, err
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + SPDY + "\r\n" +
		httpstream.HeaderProtocolVersion + ": " + protocol + "\r\n\r\n"
	if _, err := hw.conn.Write([]byte(answer)); err != nil {
		return nil, nil, err
	}
	opened := make(chan spdyStream, 5) // there are five types of streams
	conn, err := spdy.NewServerConnection(
		spdyConn{hw.conn, rw.Reader},
		func(stream httpstream.Stream, replied <-chan struct{}) error {
			select {
			case opened <- spdyStream{stream, replied}:
				return nil
			default:
				return errors.New("too many streams")
			}
		},
	)
	return conn, opened, err
}

// acceptSPDYStreams waits for the streams that the query requests, and returns
// them in the order of the channels. It returns nil if the client opens another
// stream, has gone, or does not open all streams in time.
func (o options) acceptSPDYStreams(opened <-chan spdyStream, gone <-chan struct{}) []io.ReadWriteCloser {
	places := map[string]int{corev1.StreamTypeError: remotecommand.StreamErr}
	for name, kind := range map[string]struct {
		wanted  bool
		channel int
	}{
		corev1.StreamTypeStdin:  {o.stdin, remotecommand.StreamStdIn},
		corev1.StreamTypeStdout: {o.stdout, remotecommand.StreamStdOut},
		corev1.StreamTypeStderr: {o.stderr, remotecommand.StreamStdErr},
		corev1.StreamTypeResize: {o.tty, remotecommand.StreamResize},
	} {
		if kind.wanted {
			places[name] = kind.channel
		}
	}
	streams := []io.ReadWriteCloser{discardStream{}, discardStream{}, discardStream{}, discardStream{}, discardStream{}}
	timer := time.NewTimer(spdyStreamsTimeout)
	defer timer.Stop()
	for len(places) > 0 {
		select {
		case stream := <-opened:
			name := stream.Headers().Get(corev1.StreamType)
			channel, wanted := places[name]
			if !wanted {
				return nil
			}
			delete(places, name)
			select {
			case <-stream.replied:
			case <-gone:
				return nil
			}
			streams[channel] = stream
		case <-gone:
			return nil
		case <-timer.C:
			return nil
		}
	}
	return streams
}

// discardStream replaces a stream that the client did not request.
type discardStream struct{}

func (discardStream) Read([]byte) (int, error)    { return 0, io.EOF }
func (discardStream) Write(p []byte) (int, error) { return len(p), nil }
func (discardStream) Close() error                { return nil }

// spdyConn is the connection below SPDY. Its Close never returns an error,
// because the library would wait until the error is read.
type spdyConn struct {
	*faultConn
	r *bufio.Reader
}

func (c spdyConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func (c spdyConn) Close() error {
	_ = c.faultConn.Close()
	return nil
}
