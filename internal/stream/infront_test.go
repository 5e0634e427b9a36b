package stream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
	"kshell/internal/headlamp"
)

// headlampTransport is like requestLog.transport, for the cluster prod of a
// Headlamp server that answers each handshake with answer.
func (l *requestLog) headlampTransport(t *testing.T, configure func(*rest.Config), answer http.HandlerFunc) *Transport {
	t.Helper()
	withSettings := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/config" {
			answerWith(http.StatusOK, `{"clusters":[{"name":"dev"}],"isDynamicClusterEnabled":false}`)(w, r)
			return
		}
		answer(w, r)
	}
	return l.transport(t, false, func(cfg *rest.Config) {
		if configure != nil {
			configure(cfg)
		}
		route := &headlamp.Route{Base: cfg.Host, Cluster: "prod"}
		*cfg = *route.Apply(cfg)
	}, withSettings, withSettings)
}

// answerWith returns a handler that always gives the same answer. A body that
// begins with { is JSON, one that begins with < a web page.
func answerWith(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case strings.HasPrefix(body, "{"):
			w.Header().Set("Content-Type", "application/json")
		case strings.HasPrefix(body, "<"):
			w.Header().Set("Content-Type", "text/html")
		}
		if code/100 == 3 {
			w.Header().Set("Location", "https://login.example/")
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// inFront contains answers of Headlamp and of servers in front of it, and the
// expected properties of the HandshakeError.
var inFront = []struct {
	name      string
	code      int
	body      string
	class     Refusal
	permanent bool
	text      string // a part of the message
	hint      string // a part of the hint; empty means no hint
}{
	{"unknown cluster", 404, "key not found\n", RefusalInFront, true, `knows no cluster "prod"`, "one of: dev"},
	{"API server down", 502, "", RefusalInFront, false, "Headlamp cannot reach the API server", "kshell clusters"},
	{"desktop app", 403, "access denied\n", RefusalInFront, true, "its desktop app only", "KSHELL_HEADLAMP_TOKEN"},
	{"Host header", 403, "invalid Host header\n", RefusalInFront, true, "only under its own port", "ssh -L"},
	{
		"anonymous", 403, `{"kind":"Status","message":"User \"system:anonymous\" cannot get"}`, RefusalInFront, true,
		`no credentials reached cluster "prod"`, "--token",
	},
	{
		"credentials", 401, `{"kind":"Status","message":"Unauthorized"}`, RefusalUnauthorized, true,
		"the cluster does not know these credentials", "log in again",
	},
	{"login page", 200, "<!doctype html>", RefusalInFront, true, "a web page answered at", "login proxy"},
	{"redirect", 302, "", RefusalInFront, true, "a web page answered at", "login proxy"},
	{
		"HTTPS server", 400, "Client sent an HTTP request to an HTTPS server.\n", RefusalInFront, true,
		"expects HTTPS", "https://",
	},
	{
		"no upgrade", 400, `{"kind":"Status","message":"Upgrade request required"}`, RefusalInFront, true,
		"passes no WebSockets", "proxy_set_header Upgrade",
	},
	{"no subprotocol", 403, "", RefusalNoSubprotocol, true, "refused (403 Forbidden) and gave no reason", ""},
	{
		"pod not found", 404, `{"kind":"Status","message":"pods \"x\" not found","reason":"NotFound"}`, RefusalNotFound, true,
		`pods "x" not found`, "",
	},
}

func TestDial_AnswersInFrontOfTheServer(t *testing.T) {
	for _, test := range inFront {
		t.Run(test.name, func(t *testing.T) {
			dialer := new(requestLog).headlampTransport(t, nil, answerWith(test.code, test.body)).dialer
			for name, dial := range map[string]func(context.Context, Request) (*Conn, error){
				"WebSocket": dialer.Dial, "SPDY": dialer.DialSPDY,
			} {
				if name == "SPDY" && test.code == http.StatusBadGateway {
					continue // Headlamp answers each SPDY handshake with 502
				}
				_, err := dial(t.Context(), testRequest("false"))
				var refused *HandshakeError
				if !errors.As(err, &refused) || refused.Refusal() != test.class || refused.Permanent() != test.permanent ||
					refused.StatusCode != test.code || !strings.Contains(err.Error(), test.text) {
					t.Fatalf("%s: got %v (%+v)", name, err, refused)
				}
				hint := ""
				if explained := apiclient.AsRefusal(err); explained != nil {
					hint = explained.Hint()
				}
				if !strings.Contains(hint, test.hint) || (hint == "") != (test.hint == "") {
					t.Errorf("%s: hint %q, want %q", name, hint, test.hint)
				}
			}
		})
	}
}

// Headlamp does not support SPDY, so SPDY is not tried after an answer of
// Headlamp.
func TestTransport_NoSPDYAfterAnswerInFront(t *testing.T) {
	var log requestLog
	transport := log.headlampTransport(t, nil, answerWith(403, "access denied\n"))
	_, err := transport.Dial(t.Context(), testRequest("true"))
	if want := []string{"websocket"}; RefusalOf(err) != RefusalInFront || !slices.Equal(log.requests, want) {
		t.Errorf("got %v after the requests %q, want %q", err, log.requests, want)
	}
}

// After a 401 with an explanation, new credentials are tried, as after any other
// 401.
func TestTransport_NewCredentialsAfterExplainedAnswer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	var log requestLog
	configure := func(cfg *rest.Config) { cfg.BearerTokenFile = file }
	transport := log.headlampTransport(t, configure, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer new" {
			write("new")
			answerWith(401, `{"kind":"Status","message":"Unauthorized"}`)(w, r)
			return
		}
		acceptWebSocket(w, r)
	})
	conn, err := transport.Dial(t.Context(), testRequest(""))
	if err != nil {
		t.Fatal(err)
	}
	conn.end()
	if want := []string{"websocket Bearer old", "websocket Bearer new"}; !slices.Equal(log.requests, want) {
		t.Errorf("requests %q, want %q", log.requests, want)
	}
}

// Before the first connection, an attempt is repeated if the refusal is not
// permanent, until ConnectTimeout has passed.
func TestSession_AnswersInFrontBeforeTheFirstConnection(t *testing.T) {
	for _, test := range inFront {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log requestLog
				transport := log.headlampTransport(t, nil, answerWith(test.code, test.body))
				transport.webSocketOnly = true
				dial := func(ctx context.Context) (*Conn, error) { return transport.Dial(ctx, testRequest("false")) }
				err := newTestSession(dial, Settings{LinkSettings: LinkSettings{ConnectTimeout: 10 * time.Second}}).Run(t.Context())
				attempts := len(slices.DeleteFunc(log.requests, func(r string) bool { return r != "websocket" }))
				if !strings.Contains(err.Error(), test.text) || (attempts == 4) == test.permanent {
					t.Errorf("got %v after %d attempts", err, attempts)
				}
			})
		})
	}
}

// After the first connection, an unknown cluster is temporary, too: Headlamp has
// no clusters for a moment while its kubeconfig is written.
func TestSession_AnswersInFrontAfterTheFirstConnection(t *testing.T) {
	for _, test := range inFront {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log requestLog
				handshakes := 0
				transport := log.headlampTransport(t, nil, func(w http.ResponseWriter, r *http.Request) {
					switch handshakes++; {
					case handshakes == 1:
						acceptWebSocket(w, r) // and closes the connection
					case handshakes < 5:
						answerWith(test.code, test.body)(w, r)
					default:
						answerWith(403, "access denied\n")(w, r)
					}
				})
				transport.webSocketOnly = true
				dial := func(ctx context.Context) (*Conn, error) { return transport.Dial(ctx, testRequest("false")) }
				err := newTestSession(dial, Settings{LinkSettings: alwaysReconnect}).Run(t.Context())
				repeated := !test.permanent || test.body == "key not found\n"
				if want := map[bool]int{false: 2, true: 5}[repeated]; handshakes != want {
					t.Errorf("%d handshakes, want %d; got %v", handshakes, want, err)
				}
			})
		})
	}
}

// A watch by plain HTTP is tried if a proxy in front of Headlamp removes the
// header Upgrade, because the proxy passes plain HTTP on.
func TestHTTPMayWork_AnswersInFront(t *testing.T) {
	for _, test := range inFront {
		dialer := new(requestLog).headlampTransport(t, nil, answerWith(test.code, test.body)).dialer
		_, err := dialer.Dial(t.Context(), Request{Path: "/api/v1/pods", Origin: true})
		want := test.name == "no upgrade" || test.class == RefusalNoSubprotocol
		if got := httpMayWork(err); got != want {
			t.Errorf("%s: %v, want %v", test.name, got, want)
		}
	}
}
