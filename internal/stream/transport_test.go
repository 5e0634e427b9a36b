package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/coder/websocket"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

func TestSPDYMayWork(t *testing.T) {
	status := func(code int, message string) error {
		return &HandshakeError{StatusCode: code, Status: &metav1.Status{Message: message}}
	}
	const noRight = `pods "web" is forbidden: User "dev" cannot get resource "pods/exec" in API group ""`
	const policy = `pods "web" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no shells`
	for _, c := range []struct {
		name        string
		err         error
		once, again bool // the results for a command that may run only once, and for a repeatable one
	}{
		{"no right to get", status(403, noRight), true, true},
		{"no right to create", status(403, `pods "web" is forbidden: `), false, false},
		{"policy", status(403, policy), false, false},
		{"no common subprotocol", &HandshakeError{StatusCode: 403}, true, true},
		{"403 of a gateway", &HandshakeError{StatusCode: 403, Page: true}, true, true},
		{"upgrade ignored", &HandshakeError{StatusCode: 200}, true, true},
		{"upgrade not understood", &HandshakeError{StatusCode: 400, Text: "Bad Request"}, true, true},
		{"upgrade stripped", status(400, "Upgrade request required"), true, true},
		{"unknown path", &HandshakeError{StatusCode: 404, Text: "404 page not found"}, true, true},
		{"another upgrade required", &HandshakeError{StatusCode: 426}, true, true},
		{"page of a gateway", &HandshakeError{StatusCode: 502, Page: true}, true, true},
		{"text of a gateway", &HandshakeError{StatusCode: 503, Text: "upstream connect error"}, true, true},
		{"no such pod", status(404, `pods "x" not found`), false, false},
		{"no such container", status(400, "container x is not valid for pod y"), false, false},
		{"dead container", &HandshakeError{StatusCode: 500, Text: `container not found ("c")`}, false, false},
		{"dead node", status(500, "error dialing backend: EOF"), false, false},
		{"not logged in", status(401, "Unauthorized"), false, false},
		{"login page", &HandshakeError{StatusCode: 302, Location: "https://login"}, false, false},
		{"too busy", &HandshakeError{StatusCode: 429, Text: "slow down"}, false, false},
		{"unreachable", &DialError{Server: "https://x", Err: errors.New("connection refused")}, false, false},
		{"lost", &LostError{Err: errors.New("reset")}, false, false},
		{"101 without a subprotocol", &ProtocolError{}, false, true},
		{"101 without WebSocket", &HandshakeError{StatusCode: 101}, false, true},
	} {
		if once, again := spdyMayWork(c.err, false), spdyMayWork(c.err, true); once != c.once || again != c.again {
			t.Errorf("%s: %v, if repeatable %v", c.name, once, again)
		}
	}
}

func TestMoreHelpful(t *testing.T) {
	status := func(code int, message string) error {
		return &HandshakeError{StatusCode: code, Status: &metav1.Status{Message: message}}
	}
	noRight := status(403, `User "dev" cannot get resource "pods/exec"`)
	for _, c := range []struct {
		name string
		spdy error
		want bool // whether moreHelpful returns the error of SPDY
	}{
		{"no right to create either", status(403, "cannot create"), false},
		{"no such pod", status(404, `pods "x" not found`), true},
		{"no such container", status(400, "choose one of: [a b]"), true},
		{"dead container", &HandshakeError{StatusCode: 500, Text: `container not found ("c")`}, true},
		{"upgrade stripped", status(400, "Upgrade request required"), false},
		{"gateway", &HandshakeError{StatusCode: 404, Text: "404 page not found"}, false},
		{"cut", &DialError{Err: errors.New("reset")}, false},
	} {
		want := noRight
		if c.want {
			want = c.spdy
		}
		if got := moreHelpful(noRight, c.spdy); got != want { //nolint:errorlint // compares identity
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// requestLog records the requests to a server, and what a Transport logged. In
// these tests, one request ends before the next one begins.
type requestLog struct{ requests, logged []string }

func (l *requestLog) logf(format string, args ...any) {
	l.logged = append(l.logged, fmt.Sprintf(format, args...))
}

// transport returns a Transport to a server that answers each WebSocket
// handshake with webSocket, and each SPDY handshake with spdy.
func (l *requestLog) transport(
	t *testing.T, webSocketOnly bool, configure func(*rest.Config), webSocket, spdy http.HandlerFunc,
) *Transport {
	t.Helper()
	cfg := serveConfig(t, func(w http.ResponseWriter, r *http.Request) {
		upgrade := strings.ToLower(r.Header.Get("Upgrade"))
		l.requests = append(l.requests, strings.TrimSpace(upgrade+" "+r.Header.Get("Authorization")))
		if upgrade == "websocket" {
			webSocket(w, r)
			return
		}
		spdy(w, r)
	})
	if configure != nil {
		configure(cfg)
	}
	transport, err := NewTransport(cfg, webSocketOnly, l.logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		transport.dialer.client.CloseIdleConnections()
		if http1, err := transport.dialer.http1(); err == nil {
			utilnet.CloseIdleConnectionsFor(http1)
		}
	})
	return transport
}

// refuse returns a handler that refuses every handshake.
func refuse(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// acceptWebSocket accepts a WebSocket and closes it.
func acceptWebSocket(w http.ResponseWriter, r *http.Request) {
	if ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: Protocols()}); err == nil {
		_ = ws.CloseNow()
	}
}

func testRequest(tty string) Request {
	return Request{Path: "/exec", Query: url.Values{"stdout": {"true"}, "tty": {tty}}, Protocols: Protocols()}
}

func TestTransport_FallsBackAndRemembers(t *testing.T) {
	testInBubble(t, func(t *testing.T) {
		var log requestLog
		transport := log.transport(t, false, nil, refuse(502), func(w http.ResponseWriter, r *http.Request) {
			<-acceptSPDY(t, w, r, V4).CloseChan()
		})
		for range 2 {
			conn, err := transport.Dial(t.Context(), testRequest(""))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(conn.Protocol(), SPDY) || !transport.UsesSPDY() {
				t.Errorf("protocol %q, UsesSPDY %v", conn.Protocol(), transport.UsesSPDY())
			}
			synctest.Wait() // all streams are open: a stream that is created after end would remain in spdystream
			conn.end()
		}
		want := []string{"websocket", "spdy/3.1", "spdy/3.1"}
		logged := []string{"falling back to SPDY: the server refused (502 Bad Gateway) and gave no reason"}
		if !slices.Equal(log.requests, want) || !slices.Equal(log.logged, logged) {
			t.Errorf("requests %q, logged %q", log.requests, log.logged)
		}
	})
}

// A server that supports none of Protocols is asked for Rest, and then again for
// Protocols on the next connection.
func TestTransport_RestOfSubprotocols(t *testing.T) {
	testInBubble(t, func(t *testing.T) {
		var log requestLog
		var offered []string
		transport := log.transport(t, false, nil, func(w http.ResponseWriter, r *http.Request) {
			offer := r.Header.Get("Sec-Websocket-Protocol")
			offered = append(offered, offer)
			if !strings.Contains(offer, V5) {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			acceptWebSocket(w, r)
		}, refuse(502))
		request := testRequest("")
		request.Protocols, request.Rest = []string{V4}, []string{V5, V4}
		for range 2 {
			conn, err := transport.Dial(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			if conn.Protocol() != V5 {
				t.Errorf("protocol %q", conn.Protocol())
			}
			conn.end()
		}
		request.Rest = nil
		if _, err := transport.Dial(t.Context(), request); RefusalOf(err) != RefusalNoSubprotocol {
			t.Errorf("without Rest: %v", err)
		}
		if want := []string{V4, V5 + "," + V4, V4, V5 + "," + V4, V4}; !slices.Equal(offered, want) {
			t.Errorf("offered %q, want %q", offered, want)
		}
	})
}

func TestTransport_Refused(t *testing.T) {
	for name, c := range map[string]struct {
		webSocketOnly   bool
		webSocket, spdy int
		requests        []string
		want            string
	}{
		"both refuse": {
			false, 502, 503,
			[]string{"websocket", "spdy/3.1"},
			"the server refused (502 Bad Gateway) and gave no reason",
		},
		"WebSocket only": {
			true, 502, 503,
			[]string{"websocket"},
			"the server refused (502 Bad Gateway) and gave no reason",
		},
		"too busy": {
			false, 429, 503,
			[]string{"websocket"},
			"the server refused (429 Too Many Requests) and gave no reason",
		},
		"fixed credentials": {
			false, 401, 503,
			[]string{"websocket"},
			"the server refused (401 Unauthorized) and gave no reason",
		},
	} {
		t.Run(name, func(t *testing.T) {
			testInBubble(t, func(t *testing.T) {
				var log requestLog
				transport := log.transport(t, c.webSocketOnly, nil, refuse(c.webSocket), refuse(c.spdy))
				_, err := transport.Dial(t.Context(), testRequest(""))
				if fmt.Sprint(err) != c.want || !slices.Equal(log.requests, c.requests) || transport.UsesSPDY() {
					t.Errorf("error %v, requests %q, UsesSPDY %v", err, log.requests, transport.UsesSPDY())
				}
			})
		})
	}
}

// Once a WebSocket has worked, SPDY is tried only if a right is missing, because
// the rights may differ between exec and attach, and between namespaces.
func TestTransport_NoSPDYAfterWebSocket(t *testing.T) {
	noRight := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"kind":"Status","message":"User \"dev\" cannot get resource \"pods/attach\""}`)
	}
	for name, c := range map[string]struct {
		refusal http.HandlerFunc
		want    []string
	}{
		"502":            {refuse(http.StatusBadGateway), []string{"websocket", "websocket", "websocket"}},
		"403 of a proxy": {refuse(http.StatusForbidden), []string{"websocket", "websocket", "websocket"}},
		"no right":       {noRight, []string{"websocket", "websocket", "spdy/3.1", "websocket", "spdy/3.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			testInBubble(t, func(t *testing.T) {
				var log requestLog
				refused := false
				transport := log.transport(t, false, nil, func(w http.ResponseWriter, r *http.Request) {
					if refused {
						c.refusal(w, r)
						return
					}
					acceptWebSocket(w, r)
				}, refuse(http.StatusForbidden))
				for range 3 {
					conn, err := transport.Dial(t.Context(), testRequest("true"))
					if (err != nil) != refused {
						t.Fatalf("refused %v, error %v", refused, err)
					}
					if err == nil {
						conn.end()
					}
					refused = true
				}
				if !slices.Equal(log.requests, c.want) {
					t.Errorf("requests %q, want %q", log.requests, c.want)
				}
			})
		})
	}
}

// A server that answers with 101, but without a subprotocol, may have started
// the command. So SPDY is tried only on a terminal.
func TestTransport_SubprotocolLost(t *testing.T) {
	for tty, want := range map[string][]string{"": {"websocket"}, "true": {"websocket", "spdy/3.1"}} {
		testInBubble(t, func(t *testing.T) {
			var log requestLog
			transport := log.transport(t, false, nil, func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("Sec-WebSocket-Protocol")
				acceptWebSocket(w, r)
			}, refuse(http.StatusForbidden))
			_, err := transport.Dial(t.Context(), testRequest(tty))
			var unknown *ProtocolError
			if !errors.As(err, &unknown) || !slices.Equal(log.requests, want) {
				t.Errorf("tty %q: error %v, requests %q", tty, err, log.requests)
			}
		})
	}
}

func TestTransport_NewCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	var log requestLog
	configure := func(cfg *rest.Config) { cfg.BearerTokenFile = file }
	transport := log.transport(t, false, configure, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer new" {
			write("new")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		acceptWebSocket(w, r)
	}, refuse(http.StatusForbidden))
	conn, err := transport.Dial(t.Context(), testRequest(""))
	if err != nil {
		t.Fatal(err)
	}
	conn.end()
	want := []string{"websocket Bearer old", "websocket Bearer new"}
	if !slices.Equal(log.requests, want) || len(log.logged) != 1 {
		t.Errorf("requests %q, logged %q", log.requests, log.logged)
	}
}

func TestTransport_CanceledDuringFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("enough")
		var log requestLog
		transport := log.transport(t, false, nil, refuse(502), func(_ http.ResponseWriter, r *http.Request) {
			cancel(reason)
			<-r.Context().Done()
		})
		if _, err := transport.Dial(ctx, testRequest("")); !errors.Is(err, reason) || len(log.logged) != 1 {
			t.Errorf("error %v, logged %q", err, log.logged)
		}
	})
}
