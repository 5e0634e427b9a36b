package stream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
	"k8s.io/client-go/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryListener is a listener whose connections are pipes in this process,
// which work in fake time.
type memoryListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (m *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memoryListener) Close() error   { m.once.Do(func() { close(m.done) }); return nil }
func (m *memoryListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (m *memoryListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.done:
		return nil, errors.New("the listener is closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve starts an HTTP server in memory for the duration of the test, and
// returns a dialer for it.
func serve(t testing.TB, handler http.HandlerFunc) *Dialer {
	t.Helper()
	d, err := NewDialer(serveConfig(t, handler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.client.CloseIdleConnections)
	return d
}

// serveConfig is like serve, but returns a configuration.
func serveConfig(t testing.TB, handler http.HandlerFunc) *rest.Config {
	l := &memoryListener{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: handler}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return &rest.Config{Host: "http://server", Dial: l.dial}
}

// serverConn is the server's end of a WebSocket connection.
type serverConn struct {
	*websocket.Conn
	t testing.TB
}

// serveExec starts a server that accepts every handshake and calls behave. When
// behave returns, the TCP connection is cut. To end a session normally, behave
// calls closeWithStatus.
func serveExec(t testing.TB, behave func(r serverConn)) *Dialer {
	return serve(t, func(w http.ResponseWriter, req *http.Request) {
		ws, err := websocket.Accept(w, req, &websocket.AcceptOptions{Subprotocols: Protocols(), InsecureSkipVerify: true})
		if err != nil {
			t.Error(err)
			return
		}
		ws.SetReadLimit(-1)
		defer ws.CloseNow()
		behave(serverConn{ws, t})
	})
}

func (r serverConn) text() bool { return codecs[r.Subprotocol()].text }

// send sends a message. It ignores errors: the client may have closed the
// connection.
func (r serverConn) send(ch channel, payload string) {
	message, _ := codecs[r.Subprotocol()].encode(ch, append(make([]byte, headroom), payload...), nil)
	kind := websocket.MessageBinary
	if r.text() {
		kind = websocket.MessageText
	}
	_ = r.Write(context.Background(), kind, message)
}

// receive waits for a message that is not empty. open is false after the end of
// the connection.
func (r serverConn) receive() (ch channel, payload string, open bool) {
	for {
		_, message, err := r.Read(context.Background())
		switch {
		case err != nil:
			return 0, "", false
		case len(message) == 0:
		case r.text():
			ch, p, err := decodeText(message, nil)
			if err != nil {
				r.t.Error(err)
			}
			return ch, string(p), true
		default:
			return channel(message[0]), string(message[1:]), true
		}
	}
}

// readAll reads until the client disconnects. Meanwhile, pings are answered.
func (r serverConn) readAll() {
	for open := true; open; {
		_, _, open = r.receive()
	}
}

const success = `{"metadata":{},"status":"Success"}`

func failure(code string) string {
	return `{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code",` +
		`"reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"` + code + `"}]}}`
}

// closeWithStatus ends a session as the API server does.
func (r serverConn) closeWithStatus(status string) {
	r.send(chError, status)
	_ = r.Close(websocket.StatusNormalClosure, "")
}
