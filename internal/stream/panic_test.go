package stream

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// panickingSocketTransport is a transport whose sockets panic on Write.
type panickingSocketTransport struct{ http.RoundTripper }

func (p panickingSocketTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := p.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = panickingSocket{resp.Body.(io.ReadWriteCloser)}
	}
	return resp, err
}

type panickingSocket struct{ io.ReadWriteCloser }

func (panickingSocket) Write([]byte) (int, error) { panic("broken socket") }

func mustPanic(t *testing.T, with string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), with) {
			t.Errorf("recovered %v", p)
		}
	}()
	f()
	t.Error("it returned")
}

// A panic in the goroutine that writes to the socket makes Run panic.
func TestSession_SocketWritePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(r serverConn) {
			r.send(chStdout, "text")
			r.readAll()
		})
		d.client.Transport = panickingSocketTransport{d.client.Transport}
		s := newTestSession(d.dialFunc(V5), Settings{Stdin: strings.NewReader("input")})
		mustPanic(t, "broken socket", func() { _ = s.Run(t.Context()) })
	})
}
