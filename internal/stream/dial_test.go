package stream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"k8s.io/client-go/rest"
)

func TestRefusalsAreToldInTheServersWords(t *testing.T) {
	for name, c := range map[string]struct {
		code      int
		header    http.Header
		body      string
		want      string
		permanent bool
		empty     bool
	}{
		"no such pod": {
			code: 404, header: http.Header{"Content-Type": {"application/json"}},
			body: `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"pods \"x\" not found","reason":"NotFound","code":404}`,
			want: `the server refused (404): pods "x" not found`, permanent: true,
		},
		"unknown container": {
			code: 400, body: `{"kind":"Status","message":"container x is not valid for pod y","reason":"BadRequest","code":400}`,
			want: "the server refused (400): container x is not valid for pod y", permanent: true,
		},
		"bad token": {
			code: 401, body: `{"kind":"Status","message":"Unauthorized","reason":"Unauthorized","code":401}`,
			want: "the server refused (401): Unauthorized", permanent: true,
		},
		"no subprotocol in common": {
			code: 403, want: "the server refused (403 Forbidden) and gave no reason", permanent: true, empty: true,
		},
		"container not running": {
			code: 500, body: "container not found (\"c\")\n",
			want: `the server refused (500): container not found ("c")`,
		},
		"gateway": {code: 502, want: "the server refused (502 Bad Gateway) and gave no reason", empty: true},
		"login page": {
			code: 200, header: http.Header{"Content-Type": {"text/html; charset=utf-8"}}, body: "<html>log in</html>",
			want: "the server answered with a web page (200), not as a Kubernetes API", permanent: true,
		},
		"page without a type": {
			code: 503, body: "<!DOCTYPE html><p>down</p>",
			want: "the server answered with a web page (503), not as a Kubernetes API",
		},
		"login redirect": {
			code: 302, header: http.Header{"Location": {"https://login.example/"}},
			want: "the server redirects (302) to https://login.example/: the redirect was not followed", permanent: true,
		},
		"upgrade ignored": {code: 200, want: "the server ignored the request to upgrade to WebSocket (200)", permanent: true, empty: true},
		"too busy":        {code: 429, body: "slow down", want: "the server refused (429): slow down"},
		"a flood":         {code: 400, body: strings.Repeat("x", 1<<20), want: "the server refused (400): " + strings.Repeat("x", 1<<10), permanent: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header()[k] = v
				}
				w.WriteHeader(c.code)
				_, _ = w.Write([]byte(c.body))
			})
			_, err := d.with(V5)(t.Context())
			var refused *HandshakeError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want a HandshakeError", err)
			}
			if refused.Error() != c.want || refused.Permanent() != c.permanent || refused.Empty() != c.empty {
				t.Errorf("got  %s\nwant %s\npermanent %v, empty %v", refused, c.want, refused.Permanent(), refused.Empty())
			}
			if refused.StatusCode != c.code {
				t.Errorf("code %d", refused.StatusCode)
			}
		})
	}
}

func TestAnAnswerThatIsNoWebSocketIsRefused(t *testing.T) {
	d := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
		_ = rw.Flush()
	})
	_, err := d.with(V5)(t.Context())
	var refused *HandshakeError
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusSwitchingProtocols || !refused.Permanent() {
		t.Errorf("got %v", err)
	}
}

func TestASubprotocolThatWasNotOfferedIsAFault(t *testing.T) {
	for selected, c := range map[string]struct {
		offer []string
		words string
	}{
		"":      {Protocols(), "selected no subprotocol"},
		Channel: {[]string{V5, V4}, `the subprotocol "channel.k8s.io", which was not offered`},
	} {
		d := serve(t, func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Sec-WebSocket-Protocol", selected)
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{selected}})
			if err != nil {
				t.Error(err)
				return
			}
			defer ws.CloseNow()
			_, _, _ = ws.Read(context.Background())
		})
		_, err := d.with(c.offer...)(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.words) || !failed(err) {
			t.Errorf("%q: got %v", selected, err)
		}
		var p interface{ Permanent() bool }
		if !errors.As(err, &p) || !p.Permanent() {
			t.Errorf("%q: %v would be tried again for ever", selected, err)
		}
	}
}

func TestPathAndQueryReachTheServerBelowItsPrefix(t *testing.T) {
	asked := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.EscapedPath() + "?" + r.URL.RawQuery + " " + r.Header.Get("Sec-Websocket-Protocol") + " " + r.Header.Get("Authorization")
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	d, err := NewDialer(&rest.Config{Host: server.URL + "/clusters/a%2Fb/"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Dial(t.Context(), Request{Path: "/api/v1/x%20y/exec", Query: url.Values{"command": {"a b", "c"}}, Protocols: []string{V5, V4}})
	if err == nil {
		t.Error("no error")
	}
	if got, want := <-asked, "/clusters/a%2Fb/api/v1/x%20y/exec?command=a+b&command=c v5.channel.k8s.io,v4.channel.k8s.io "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAServerThatIsNotThereIsSaidInOneSentence(t *testing.T) {
	const nowhere = "http://127.0.0.1:1" // a port that was just given up may be somebody else's by now
	d, err := NewDialer(&rest.Config{Host: nowhere})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.with(V5)(t.Context())
	if got, want := fmt.Sprint(err), "cannot connect to "+nowhere+": connection refused"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var p interface{ Permanent() bool }
	if !errors.As(err, &p) || p.Permanent() {
		t.Error("a server that is not there may come back")
	}
}

func TestAServerThatCannotBeTrustedIsNotTriedAgain(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = nil
	server.StartTLS()
	defer server.Close()
	d, err := NewDialer(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.with(V5)(t.Context())
	var p interface{ Permanent() bool }
	if !errors.As(err, &p) || !p.Permanent() || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
	d.client.CloseIdleConnections()
}

func TestASilentServerIsGivenUpAfterTheHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		start := time.Now()
		_, err := d.with(V5)(t.Context())
		var unreachable *DialError
		if !errors.As(err, &unreachable) || time.Since(start) != handshakeTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if !strings.Contains(err.Error(), "no answer") {
			t.Errorf("unclear: %s", err)
		}
	})
}
