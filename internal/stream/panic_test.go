package stream

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// brittle is a transport whose sockets panic on Write.
type brittle struct{ http.RoundTripper }

func (b brittle) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = brittleSocket{resp.Body.(io.ReadWriteCloser)}
	}
	return resp, err
}

type brittleSocket struct{ io.ReadWriteCloser }

func (brittleSocket) Write([]byte) (int, error) { panic("broken socket") }

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
		d := pod(t, func(r remote) {
			r.send(chStdout, "text")
			for open := true; open; {
				_, _, open = r.receive()
			}
		})
		d.client.Transport = brittle{d.client.Transport}
		s := &funcSession{funcLink: funcLink{Dial: d.with(V5)}}
		s.Stdin = strings.NewReader("input")
		mustPanic(t, "broken socket", func() { _ = s.Run(t.Context()) })
	})
}
