package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
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

func TestDial_OtherUpgrade(t *testing.T) {
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
	_, err := d.dialFunc(V5)(t.Context())
	var refused *HandshakeError
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusSwitchingProtocols || !refused.Permanent() {
		t.Errorf("got %v", err)
	}
}

// slowBody is a transport whose requests have a body that takes a second to end.
type slowBody struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t slowBody) RoundTrip(req *http.Request) (*http.Response, error) {
	slow := *req
	slow.Body = sleepingReader{req.Body}
	return t.RoundTripper.RoundTrip(&slow)
}

type sleepingReader struct{ io.ReadCloser }

// Read implements io.Reader.
func (r sleepingReader) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return r.ReadCloser.Read(p)
}

// The handshake has no body, even if http.Transport does not reach the end of the
// empty body within 200 ms, which happens on a busy machine. Otherwise the end of a
// chunked body would be sent after the handshake, where the server expects a frame.
func TestDial_NoBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		after := make(chan string, 1)
		d := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
				t.Errorf("a body of %d bytes, encoding %q", r.ContentLength, r.TransferEncoding)
			}
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{V5}})
			if err != nil {
				t.Error(err)
				after <- ""
				return
			}
			defer ws.CloseNow()
			_, message, err := ws.Read(context.Background())
			after <- fmt.Sprintf("%q, %v", message, err)
		})
		d.client.Transport = slowBody{d.client.Transport}
		conn, err := d.dialFunc(V5)(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.close()
		time.Sleep(2 * time.Second)
		if err := conn.write([]byte("\x00input")); err != nil {
			t.Error(err)
		}
		if got, want := <-after, fmt.Sprintf("%q, <nil>", "\x00input"); got != want {
			t.Errorf("the server has received %s, want %s", got, want)
		}
	})
}

func TestDial_SubprotocolNotOffered(t *testing.T) {
	for selected, c := range map[string]struct {
		offer   []string
		message string
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
		_, err := d.dialFunc(c.offer...)(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.message) || !IsFailure(err) {
			t.Errorf("%q: got %v", selected, err)
		}
		var p interface{ Permanent() bool }
		if !errors.As(err, &p) || !p.Permanent() {
			t.Errorf("%q: %v is not permanent", selected, err)
		}
	}
}

func TestDial_PathAndQuery(t *testing.T) {
	requests := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.URL.EscapedPath() + "?" + r.URL.RawQuery + " " + r.Header.Get("Sec-Websocket-Protocol") + " " +
			r.Header.Get("Authorization")
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	d, err := NewDialer(&rest.Config{Host: server.URL + "/clusters/a%2Fb/"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Dial(t.Context(), Request{
		Path: "/api/v1/x%20y/exec", Query: url.Values{"command": {"a b", "c"}}, Protocols: []string{V5, V4},
	})
	if err == nil {
		t.Error("no error")
	}
	const want = "/clusters/a%2Fb/api/v1/x%20y/exec?command=a+b&command=c v5.channel.k8s.io,v4.channel.k8s.io "
	if got := <-requests; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDial_NoServer(t *testing.T) {
	const address = "http://127.0.0.1:1" // the port of a closed listener may already belong to another process
	d, err := NewDialer(&rest.Config{Host: address})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.dialFunc(V5)(t.Context())
	if got, want := fmt.Sprint(err), "cannot connect to "+address+": connection refused"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var p interface{ Permanent() bool }
	if !errors.As(err, &p) || p.Permanent() {
		t.Error("the error is permanent, although the server may start later")
	}
}

func TestDial_UntrustedServer(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = nil
	server.StartTLS()
	defer server.Close()
	d, err := NewDialer(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.dialFunc(V5)(t.Context())
	var p interface{ Permanent() bool }
	if !errors.As(err, &p) || !p.Permanent() || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
	d.client.CloseIdleConnections()
}

func TestDial_SilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		start := time.Now()
		_, err := d.dialFunc(V5)(t.Context())
		var unreachable *DialError
		if !errors.As(err, &unreachable) || time.Since(start) != handshakeTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if !strings.Contains(err.Error(), "no answer") {
			t.Errorf("message %q does not mention the missing answer", err)
		}
	})
}

func TestDialer_Server(t *testing.T) {
	for host, want := range map[string]string{
		"https://h:6443":                        "https://h:6443",
		"https://h:6443/":                       "https://h:6443",
		"https://u:hunter2@h/k8s/clusters/c-1/": "https://h/k8s/clusters/c-1",
	} {
		d, err := NewDialer(&rest.Config{Host: host})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Server(); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}
