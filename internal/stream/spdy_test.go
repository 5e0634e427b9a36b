package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// spdyServerConn is the server's end of a SPDY connection.
type spdyServerConn struct {
	httpstream.Connection
	t       testing.TB
	opened  chan httpstream.Stream
	streams map[string]httpstream.Stream // by type
}

// serveSPDYExec starts a server that accepts every SPDY handshake and calls
// behave. When behave returns, the server closes the connection.
func serveSPDYExec(t testing.TB, behave func(conn *spdyServerConn)) *Dialer {
	return serveSPDY(t, func(w http.ResponseWriter, r *http.Request) {
		conn := acceptSPDY(t, w, r, V4)
		if conn.collect(r.URL.Query()) {
			behave(conn)
		}
		_ = conn.Close()
		<-conn.CloseChan()
	})
}

// serveSPDY is like serve, but the Dialer may also make SPDY handshakes.
func serveSPDY(t testing.TB, handler http.HandlerFunc) *Dialer {
	t.Helper()
	d := serve(t, handler)
	t.Cleanup(func() {
		if transport, err := d.http1(); err == nil {
			utilnet.CloseIdleConnectionsFor(transport)
		}
	})
	return d
}

func acceptSPDY(t testing.TB, w http.ResponseWriter, r *http.Request, protocol string) *spdyServerConn {
	if r.Method != http.MethodPost || !slices.Equal(r.Header.Values(httpstream.HeaderProtocolVersion), []string{V5, V4}) {
		t.Errorf("%s, offering %v", r.Method, r.Header.Values(httpstream.HeaderProtocolVersion))
	}
	if protocol != "" {
		w.Header().Set(httpstream.HeaderProtocolVersion, protocol)
	}
	conn := &spdyServerConn{t: t, opened: make(chan httpstream.Stream, 8), streams: map[string]httpstream.Stream{}}
	onStream := func(stream httpstream.Stream, replied <-chan struct{}) error {
		go func() {
			<-replied
			conn.opened <- stream
		}()
		return nil
	}
	conn.Connection = spdy.NewResponseUpgrader().UpgradeResponse(w, r, onStream)
	return conn
}

// collect waits for the streams that the query selects. It returns false if the
// connection ends before all streams are open.
func (conn *spdyServerConn) collect(query url.Values) bool {
	want := 1
	for _, name := range []string{"stdin", "stdout", "stderr", "tty"} {
		if query.Get(name) == "true" {
			want++
		}
	}
	for range want {
		select {
		case stream := <-conn.opened:
			conn.streams[stream.Headers().Get("streamType")] = stream
		case <-conn.CloseChan():
			return false
		}
	}
	return true
}

// send writes to a stream. It ignores errors: the client may have closed the
// connection.
func (conn *spdyServerConn) send(stream, payload string) {
	_, _ = io.WriteString(conn.streams[stream], payload)
}

// closeStream ends one stream.
func (conn *spdyServerConn) closeStream(stream string) { _ = conn.streams[stream].Close() }

// spdyDialFunc returns a function for testDriver that opens a SPDY connection.
// streams are names of query parameters: stdin, stdout, stderr, tty.
func (d *Dialer) spdyDialFunc(streams ...string) func(context.Context) (*Conn, error) {
	query := url.Values{"command": {"x"}}
	for _, name := range streams {
		query.Set(name, "true")
	}
	return func(ctx context.Context) (*Conn, error) { return d.DialSPDY(ctx, Request{Path: "/exec", Query: query}) }
}

// testInBubble runs a test in fake time, and then waits until the goroutines of
// the SPDY library have ended.
func testInBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t)
		time.Sleep(time.Minute)
	})
}

func TestSPDY_OutputAndExitCode(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 100_000)
	testInBubble(t, func(t *testing.T) {
		d := serveSPDYExec(t, func(conn *spdyServerConn) {
			conn.send("stdout", "out\n")
			conn.send("stderr", "err\n")
			conn.send("stdout", large)
			conn.send("stderr", "more\x00\xff")
			conn.send("error", failure("7"))
		})
		var stdout, stderr bytes.Buffer
		protocol := ""
		driver := &testDriver{
			dial:   d.spdyDialFunc("stdout", "stderr"),
			opened: func(c *Conn) error { protocol = c.Protocol(); return nil },
		}
		s := NewSession(driver, nil, Settings{Stdout: &stdout, Stderr: &stderr})
		err := s.Run(t.Context())
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Code != 7 {
			t.Errorf("got %v, want exit code 7", err)
		}
		if stdout.String() != "out\n"+large || stderr.String() != "err\nmore\x00\xff" {
			t.Errorf("stdout %d bytes, stderr %q", stdout.Len(), &stderr)
		}
		if protocol != "SPDY/3.1 v4.channel.k8s.io" {
			t.Errorf("protocol %q", protocol)
		}
	})
}

func TestSPDY_Stdin(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	testInBubble(t, func(t *testing.T) {
		got := make(chan []byte, 1)
		d := serveSPDYExec(t, func(conn *spdyServerConn) {
			all, err := io.ReadAll(conn.streams["stdin"])
			if err != nil {
				t.Error(err)
			}
			got <- all
			conn.send("error", success)
		})
		s := newTestSession(d.spdyDialFunc("stdin", "stdout", "stderr"), Settings{Stdin: bytes.NewReader(want)})
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(<-got, want) {
			t.Error("stdin differs")
		}
	})
}

func TestSPDY_EndWithoutStatus(t *testing.T) {
	for name, end := range map[string]func(conn *spdyServerConn){
		"normal close": func(*spdyServerConn) {},
		"streams ended": func(conn *spdyServerConn) {
			conn.closeStream("stdout")
			conn.closeStream("stderr")
			conn.closeStream("error")
		},
		"error stream reset": func(conn *spdyServerConn) {
			_ = conn.streams["error"].Reset()
			conn.closeStream("stdout")
			conn.closeStream("stderr")
		},
	} {
		t.Run(name, func(t *testing.T) {
			testInBubble(t, func(t *testing.T) {
				d := serveSPDYExec(t, func(conn *spdyServerConn) {
					conn.send("stdout", "text")
					end(conn)
				})
				var stdout bytes.Buffer
				s := newTestSession(d.spdyDialFunc("stdout", "stderr"), Settings{LinkSettings: noReconnect, Stdout: &stdout})
				err := s.Run(t.Context())
				var lost *LostError
				if !errors.As(err, &lost) || err.Error() != "connection lost: the connection was cut" {
					t.Errorf("got %v, want a LostError", err)
				}
				if stdout.String() != "text" {
					t.Errorf("stdout %q", &stdout)
				}
			})
		})
	}
}

func TestSPDY_Failure(t *testing.T) {
	for status, want := range map[string]string{
		`{"status":"Failure","message":"exec: \"x\": executable file not found in $PATH","reason":"InternalError"}`://
		`the container has no such command: exec: "x": executable file not found in $PATH`,
		"no json":            "the server reported a failure: unreadable status: no json",
		`{"status":"Maybe"}`: `the server reported a failure: status that is neither success nor failure: {"status":"Maybe"}`,
	} {
		testInBubble(t, func(t *testing.T) {
			d := serveSPDYExec(t, func(conn *spdyServerConn) { conn.send("error", status) })
			s := newTestSession(d.spdyDialFunc("stdout"), Settings{LinkSettings: noReconnect})
			if err := s.Run(t.Context()); fmt.Sprint(err) != want {
				t.Errorf("got  %.200v\nwant %s", err, want)
			}
		})
	}
}

func TestSPDY_SlowReader(t *testing.T) {
	const size = 4 << 20
	testInBubble(t, func(t *testing.T) {
		d := serveSPDYExec(t, func(conn *spdyServerConn) {
			for n := 0; n < size; n += 32 << 10 {
				conn.send("stdout", strings.Repeat("x", 32<<10))
			}
			conn.send("error", failure("5")) // then behave returns, which closes the connection before all output is read
		})
		n := 0
		stdout := writerFunc(func(p []byte) (int, error) {
			if n == 0 {
				time.Sleep(150 * time.Second)
			}
			n += len(p)
			return len(p), nil
		})
		s := newTestSession(d.spdyDialFunc("stdout", "stderr"), Settings{LinkSettings: noReconnect, Stdout: stdout})
		err := s.Run(t.Context())
		var exit *ExitError
		if n != size || !errors.As(err, &exit) || exit.Code != 5 {
			t.Errorf("%d bytes of %d, %v", n, size, err)
		}
	})
}

func TestSPDY_Resize(t *testing.T) {
	testInBubble(t, func(t *testing.T) {
		sizes := make(chan string, 2)
		d := serveSPDYExec(t, func(conn *spdyServerConn) {
			if conn.streams["stderr"] != nil {
				t.Error("stderr is open on a tty")
			}
			buf := make([]byte, 100)
			for range 2 {
				n, err := conn.streams["resize"].Read(buf)
				if err != nil {
					t.Error(err)
				}
				sizes <- strings.TrimSpace(string(buf[:n]))
			}
			conn.send("error", success)
		})
		resized := make(chan struct{}, 1)
		width := uint16(80)
		window := testWindow{width: func() uint16 { return width }, resized: resized}
		s := newTestSession(d.spdyDialFunc("stdin", "stdout", "tty"), Settings{Window: window})
		done := make(chan error)
		go func() { done <- s.Run(t.Context()) }()
		if got, want := <-sizes, `{"Width":80,"Height":24}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		width = 132
		resized <- struct{}{}
		if got, want := <-sizes, `{"Width":132,"Height":24}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The server does not read stdin, so a write of the client blocks, and
// client-go's executor waits for that write. Run must end nevertheless when its
// context ends.
func TestSPDY_CancelBlockedStdin(t *testing.T) {
	testInBubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		over := make(chan struct{})
		d := serveSPDYExec(t, func(conn *spdyServerConn) {
			<-over
			// The server's goroutines end only when the data that the client
			// has sent is read.
			_, _ = io.Copy(io.Discard, conn.streams["stdin"])
		})
		defer close(over)
		var endless endlessInput
		var taken atomic.Int64
		s := newTestSession(d.spdyDialFunc("stdin", "stdout", "stderr"), Settings{Stdin: &endless})
		reason := errors.New("enough")
		time.AfterFunc(time.Hour, func() {
			taken.Store(endless.n.Load())
			cancel(reason)
		})
		start := time.Now()
		if err := s.Run(ctx); !errors.Is(err, reason) || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if !endless.canceled {
			t.Error("Cancel was not called")
		}
		if n := taken.Load(); n > 4<<20 {
			t.Errorf("%d bytes of stdin are buffered", n)
		}
	})
}

// endlessInput is a stdin that never ends.
type endlessInput struct {
	n        atomic.Int64 // bytes read
	canceled bool
}

func (e *endlessInput) Cancel() bool { e.canceled = true; return true }

func (e *endlessInput) Read(p []byte) (int, error) {
	e.n.Add(int64(len(p)))
	return len(p), nil
}

func TestSPDY_OutputError(t *testing.T) {
	testInBubble(t, func(t *testing.T) {
		d := serveSPDYExec(t, func(conn *spdyServerConn) {
			for {
				if _, err := io.WriteString(conn.streams["stdout"], "y\n"); err != nil {
					return
				}
			}
		})
		full := errors.New("full")
		s := newTestSession(d.spdyDialFunc("stdin", "stdout", "stderr"), Settings{
			Stdin: newKeyboard(), Stdout: writerFunc(func([]byte) (int, error) { return 0, full }),
		})
		if err := s.Run(t.Context()); !errors.Is(err, full) {
			t.Error(err)
		}
	})
}

func TestSPDY_LostBeforeStreams(t *testing.T) {
	testInBubble(t, func(t *testing.T) {
		d := serveSPDY(t, func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n" +
				"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n")
			_ = rw.Flush()
			_, _ = rw.ReadByte() // waits for the request for the first stream
		})
		start := time.Now()
		s := newTestSession(d.spdyDialFunc("stdout"), Settings{LinkSettings: noReconnect})
		err := s.Run(t.Context())
		var lost *LostError
		if !errors.As(err, &lost) || time.Since(start) > time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestDialSPDY_Refused(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(t *testing.T, w http.ResponseWriter, r *http.Request)
		want   string
	}{
		"no right": {
			func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, `{"kind":"Status","message":"User \"dev\" cannot create resource","code":403}`)
			},
			`the server refused (403): User "dev" cannot create resource`,
		},
		"login": {
			func(_ *testing.T, w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://login.invalid/", http.StatusFound)
			},
			"the server redirects (302) to https://login.invalid/: the redirect was not followed",
		},
		"no protocol selected": {
			func(t *testing.T, w http.ResponseWriter, r *http.Request) { <-acceptSPDY(t, w, r, "").CloseChan() },
			"the server selected no subprotocol: a proxy may have removed the offer",
		},
		"a protocol without a status": {
			func(t *testing.T, w http.ResponseWriter, r *http.Request) {
				<-acceptSPDY(t, w, r, Channel).CloseChan()
			},
			`the server selected the subprotocol "channel.k8s.io", which was not offered`,
		},
		"another upgrade": {
			func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Connection", "Upgrade")
				w.Header().Set("Upgrade", "h2c")
				w.WriteHeader(http.StatusSwitchingProtocols)
			},
			`the server refused (101): upgrade to "h2c", not to SPDY/3.1`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			testInBubble(t, func(t *testing.T) {
				d := serveSPDY(t, func(w http.ResponseWriter, r *http.Request) { c.answer(t, w, r) })
				_, err := d.spdyDialFunc("stdout")(t.Context())
				if fmt.Sprint(err) != c.want || !IsFailure(err) {
					t.Errorf("got  %v\nwant %s", err, c.want)
				}
			})
		})
	}
}

func TestDialSPDY_SilentServer(t *testing.T) {
	testInBubble(t, func(t *testing.T) {
		d := serveSPDY(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		start := time.Now()
		_, err := d.spdyDialFunc("stdout")(t.Context())
		var unreachable *DialError
		if !errors.As(err, &unreachable) || time.Since(start) != handshakeTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if !strings.Contains(fmt.Sprint(err), "no answer to the SPDY handshake") {
			t.Errorf("message %v", err)
		}
		d.timeout = 5 * time.Second
		start = time.Now()
		if _, err = d.spdyDialFunc("stdout")(t.Context()); !errors.As(err, &unreachable) || time.Since(start) != d.timeout {
			t.Errorf("with a timeout: %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("enough")
		time.AfterFunc(time.Second, func() { cancel(reason) })
		if _, err := d.spdyDialFunc("stdout")(ctx); !errors.Is(err, reason) {
			t.Errorf("canceled: %v", err)
		}
	})
}

func TestSPDY_PanicInTransport(t *testing.T) {
	testInBubble(t, func(t *testing.T) {
		d := serve(t, nil)
		d.http1 = func() (http.RoundTripper, error) { return panickingTransport{}, nil }
		defer func() {
			if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "boom") {
				t.Errorf("recovered %v", r)
			}
		}()
		s := newTestSession(d.spdyDialFunc("stdout"), Settings{})
		t.Errorf("Run returned %v", s.Run(t.Context()))
	})
}

type panickingTransport struct{}

func (panickingTransport) RoundTrip(*http.Request) (*http.Response, error) { panic("boom") }

// The output of a short command arrives, and the server closes the connection,
// before the client has received the answers to its requests for streams.
func TestSPDY_ShortCommand(t *testing.T) {
	for range 50 {
		testInBubble(t, func(t *testing.T) {
			d := serveSPDYExec(t, func(conn *spdyServerConn) {
				conn.send("stdout", "out")
				conn.send("error", failure("7"))
			})
			var stdout bytes.Buffer
			set := Settings{LinkSettings: noReconnect, Stdout: &stdout}
			s := newTestSession(d.spdyDialFunc("stdin", "stdout", "stderr"), set)
			err := s.Run(t.Context())
			var exit *ExitError
			if !errors.As(err, &exit) || stdout.String() != "out" {
				t.Errorf("stdout %q, %v", &stdout, err)
			}
		})
	}
}

// A SPDY handshake must use HTTP/1.1, because HTTP/2 has no upgrade. net/http
// avoids HTTP/2 by itself only for WebSocket handshakes.
func TestDialSPDY_HTTP1(t *testing.T) {
	requests := make(chan string, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Proto + " " + r.Header.Get("Upgrade")
		w.WriteHeader(http.StatusForbidden)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	d, err := NewDialer(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.spdyDialFunc("stdout")(t.Context())
	if got, want := <-requests, "HTTP/1.1 SPDY/3.1"; got != want || err == nil {
		t.Errorf("request %s, want %s; error %v", got, want, err)
	}
	transport, err := d.http1()
	if err != nil {
		t.Fatal(err)
	}
	utilnet.CloseIdleConnectionsFor(transport)
}

func TestSPDY_IdleTimer(t *testing.T) {
	testInBubble(t, func(t *testing.T) {
		d := serveSPDYExec(t, func(conn *spdyServerConn) {
			conn.SetIdleTimeout(20 * time.Minute)
			time.Sleep(time.Hour)
			conn.send("error", success)
		})
		set := Settings{LinkSettings: noReconnect, Keepalive: 10 * time.Second, IdleKeepalive: true}
		s := newTestSession(d.spdyDialFunc("stdout"), set)
		start := time.Now()
		if err := s.Run(t.Context()); err != nil || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
