package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"k8s.io/client-go/rest"
)

// countingServer is a TLS server that accepts WebSockets, and counts
// connections and requests.
type countingServer struct {
	*httptest.Server
	opened, requests atomic.Int32
	closed           chan struct{} // receives a value for each closed connection
}

func newCountingServer(t *testing.T, handle http.HandlerFunc) *countingServer {
	t.Helper()
	s := &countingServer{closed: make(chan struct{}, 10)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		handle(w, r)
	}))
	s.Config.ErrorLog = nil
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.opened.Add(1)
		case http.StateClosed:
			s.closed <- struct{}{}
		case http.StateActive, http.StateIdle, http.StateHijacked:
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func acceptExec(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: Protocols(), InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	_, _, _ = ws.Read(context.Background())
}

// newTestTransport returns a Transport for the server of cfg.
func newTestTransport(t *testing.T, cfg *rest.Config) *Transport {
	t.Helper()
	cfg.Insecure = true
	transport, err := NewTransport(cfg, true, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		transport.ClosePrepared()
		transport.dialer.client.CloseIdleConnections()
	})
	return transport
}

// waitOpened waits until the prepared connection is open.
func waitOpened(t *testing.T, transport *Transport) {
	t.Helper()
	transport.mu.Lock()
	p := transport.prepared
	transport.mu.Unlock()
	<-p.opened
	if p.err != nil {
		t.Fatal(p.err)
	}
}

func TestPrepare(t *testing.T) {
	server := newCountingServer(t, acceptExec)
	transport := newTestTransport(t, &rest.Config{Host: server.URL, BearerToken: "secret"})
	transport.Prepare()
	transport.Prepare() // no second connection
	for want := range int32(2) {
		conn, err := transport.Dial(t.Context(), Request{Path: "/exec", Protocols: []string{V5}})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.Protocol(); got != V5 {
			t.Errorf("protocol %s", got)
		}
		conn.end()
		if got := server.opened.Load(); got != want+1 {
			t.Errorf("%d connections, want %d", got, want+1)
		}
	}
}

func TestPrepare_Unused(t *testing.T) {
	server := newCountingServer(t, acceptExec)
	transport := newTestTransport(t, &rest.Config{Host: server.URL})
	transport.Prepare()
	waitOpened(t, transport)
	transport.ClosePrepared()
	<-server.closed
	if got := server.requests.Load(); got != 0 {
		t.Errorf("%d requests", got)
	}
	transport.Prepare() // may be closed while it is being opened
	transport.ClosePrepared()
}

func TestPrepare_ClosedByServer(t *testing.T) {
	server := newCountingServer(t, acceptExec)
	transport := newTestTransport(t, &rest.Config{Host: server.URL})
	transport.Prepare()
	waitOpened(t, transport)
	server.CloseClientConnections()
	p := transport.prepared
	for p.conn.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	conn, err := transport.Dial(t.Context(), Request{Path: "/exec", Protocols: []string{V5}})
	if err != nil {
		t.Fatal(err)
	}
	conn.end()
}

func TestPrepare_Unreachable(t *testing.T) {
	transport := newTestTransport(t, &rest.Config{Host: "https://server", Dial: func(
		context.Context, string, string,
	) (net.Conn, error) {
		return nil, errors.New("no route")
	}})
	transport.Prepare()
	_, err := transport.Dial(t.Context(), Request{Path: "/exec", Protocols: []string{V5}})
	var failed *DialError
	if !errors.As(err, &failed) {
		t.Errorf("got %v, want a *DialError", err)
	}
}

// A handshake on a prepared connection is sent once, even if the server closes
// the connection without an answer: the command may have been started.
func TestPrepare_NotRepeated(t *testing.T) {
	server := newCountingServer(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	transport := newTestTransport(t, &rest.Config{Host: server.URL})
	transport.Prepare()
	if _, err := transport.Dial(t.Context(), Request{Path: "/exec", Protocols: []string{V5}}); err == nil {
		t.Error("the handshake succeeded")
	}
	if got := server.requests.Load(); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}

// After a refusal, the connection may be used for the next handshake. That
// handshake is sent once as well.
func TestDial_NotRepeatedAfterRefusal(t *testing.T) {
	var requests atomic.Int32
	server := newCountingServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 1 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	transport := newTestTransport(t, &rest.Config{Host: server.URL})
	for range 2 {
		if _, err := transport.Dial(t.Context(), Request{Path: "/exec", Protocols: []string{V5}}); err == nil {
			t.Error("the handshake succeeded")
		}
	}
	if got := requests.Load(); got != 2 {
		t.Errorf("%d requests, want 2", got)
	}
}

func TestPrepare_Proxy(t *testing.T) {
	server := newCountingServer(t, acceptExec)
	var tunnels atomic.Int32
	var copying sync.WaitGroup
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			t.Errorf("the proxy received %s", r.Method)
			return
		}
		tunnels.Add(1)
		up, err := net.Dial("tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		down, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		copying.Add(2) // before the client can continue and the test can end with Wait
		_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { defer copying.Done(); _, _ = io.Copy(up, down); _ = up.Close() }()
		go func() { defer copying.Done(); _, _ = io.Copy(down, up); _ = down.Close() }()
	}))
	defer copying.Wait()
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	asked := ""
	transport := newTestTransport(t, &rest.Config{Host: server.URL, Proxy: func(r *http.Request) (*url.URL, error) {
		asked = r.URL.Host
		return address, nil
	}})
	transport.Prepare()
	conn, err := transport.Dial(t.Context(), Request{Path: "/exec", Protocols: []string{V5}})
	if err != nil {
		t.Fatal(err)
	}
	conn.end()
	if got := tunnels.Load(); got != 1 || "https://"+asked != server.URL {
		t.Errorf("%d tunnels, want 1; the proxy was chosen for %s", got, asked)
	}
}
