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

// remoteSPDY is the server's end of a SPDY connection.
type remoteSPDY struct {
	httpstream.Connection
	t       testing.TB
	opened  chan httpstream.Stream
	streams map[string]httpstream.Stream // by type
}

// spdyPod answers every handshake by SPDY and calls behave. When behave returns, the
// connection is closed as servers do it.
func spdyPod(t testing.TB, behave func(far *remoteSPDY)) *Dialer {
	return spdyServer(t, func(w http.ResponseWriter, r *http.Request) {
		far := acceptSPDY(t, w, r, V4)
		if far.collect(r.URL.Query()) {
			behave(far)
		}
		_ = far.Close()
		<-far.CloseChan()
	})
}

// spdyServer is like serve, for handshakes by SPDY.
func spdyServer(t testing.TB, handler http.HandlerFunc) *Dialer {
	t.Helper()
	d := serve(t, handler)
	t.Cleanup(func() {
		if transport, err := d.http1(); err == nil {
			utilnet.CloseIdleConnectionsFor(transport)
		}
	})
	return d
}

func acceptSPDY(t testing.TB, w http.ResponseWriter, r *http.Request, protocol string) *remoteSPDY {
	if r.Method != http.MethodPost || !slices.Equal(r.Header.Values(httpstream.HeaderProtocolVersion), []string{V5, V4}) {
		t.Errorf("%s, offering %v", r.Method, r.Header.Values(httpstream.HeaderProtocolVersion))
	}
	if protocol != "" {
		w.Header().Set(httpstream.HeaderProtocolVersion, protocol)
	}
	far := &remoteSPDY{t: t, opened: make(chan httpstream.Stream, 8), streams: map[string]httpstream.Stream{}}
	onStream := func(stream httpstream.Stream, replied <-chan struct{}) error {
		go func() {
			<-replied
			far.opened <- stream
		}()
		return nil
	}
	far.Connection = spdy.NewResponseUpgrader().UpgradeResponse(w, r, onStream)
	return far
}

// collect waits for the streams that the query demands.
func (far *remoteSPDY) collect(query url.Values) bool {
	want := 1
	for _, name := range []string{"stdin", "stdout", "stderr", "tty"} {
		if query.Get(name) == "true" {
			want++
		}
	}
	for range want {
		select {
		case stream := <-far.opened:
			far.streams[stream.Headers().Get("streamType")] = stream
		case <-far.CloseChan():
			return false
		}
	}
	return true
}

// send writes to a stream. It ignores errors: the client may have closed the connection.
func (far *remoteSPDY) send(stream, payload string) {
	_, _ = io.WriteString(far.streams[stream], payload)
}

// end ends one stream.
func (far *remoteSPDY) end(stream string) { _ = far.streams[stream].Close() }

// bySPDY returns a Dial with streams: stdin, stdout, stderr, tty.
func (d *Dialer) bySPDY(streams ...string) func(context.Context) (*Conn, error) {
	query := url.Values{"command": {"x"}}
	for _, name := range streams {
		query.Set(name, "true")
	}
	return func(ctx context.Context) (*Conn, error) { return d.DialSPDY(ctx, Request{Path: "/exec", Query: query}) }
}

// bubble runs a test in fake time. It waits until the library's goroutines have ended.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t)
		time.Sleep(time.Minute)
	})
}

func TestSPDY_OutputAndExitCode(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 100_000)
	bubble(t, func(t *testing.T) {
		d := spdyPod(t, func(far *remoteSPDY) {
			far.send("stdout", "out\n")
			far.send("stderr", "err\n")
			far.send("stdout", large)
			far.send("stderr", "more\x00\xff")
			far.send("error", failure("7"))
		})
		var stdout, stderr bytes.Buffer
		protocol := ""
		s := &funcSession{
			funcLink: funcLink{
				Dial:   d.bySPDY("stdout", "stderr"),
				OnOpen: func(c *Conn) error { protocol = c.Protocol(); return nil },
			},
			Stdout: &stdout, Stderr: &stderr,
		}
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
	bubble(t, func(t *testing.T) {
		got := make(chan []byte, 1)
		d := spdyPod(t, func(far *remoteSPDY) {
			all, err := io.ReadAll(far.streams["stdin"])
			if err != nil {
				t.Error(err)
			}
			got <- all
			far.send("error", success)
		})
		s := &funcSession{funcLink: funcLink{Dial: d.bySPDY("stdin", "stdout", "stderr")}, Stdin: bytes.NewReader(want)}
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(<-got, want) {
			t.Error("stdin differs")
		}
	})
}

func TestSPDY_EndWithoutStatus(t *testing.T) {
	for name, end := range map[string]func(far *remoteSPDY){
		"normal close":  func(*remoteSPDY) {},
		"streams ended": func(far *remoteSPDY) { far.end("stdout"); far.end("stderr"); far.end("error") },
		"error stream reset": func(far *remoteSPDY) {
			_ = far.streams["error"].Reset()
			far.end("stdout")
			far.end("stderr")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := spdyPod(t, func(far *remoteSPDY) {
					far.send("stdout", "text")
					end(far)
				})
				var stdout bytes.Buffer
				link := funcLink{Dial: d.bySPDY("stdout", "stderr"), Reconnect: ReconnectNever}
				s := &funcSession{funcLink: link, Stdout: &stdout}
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
		bubble(t, func(t *testing.T) {
			d := spdyPod(t, func(far *remoteSPDY) { far.send("error", status) })
			s := &funcSession{funcLink: funcLink{Dial: d.bySPDY("stdout"), Reconnect: ReconnectNever}}
			if err := s.Run(t.Context()); fmt.Sprint(err) != want {
				t.Errorf("got  %.200v\nwant %s", err, want)
			}
		})
	}
}

func TestSPDY_SlowReader(t *testing.T) {
	const size = 4 << 20
	bubble(t, func(t *testing.T) {
		d := spdyPod(t, func(far *remoteSPDY) {
			for n := 0; n < size; n += 32 << 10 {
				far.send("stdout", strings.Repeat("x", 32<<10))
			}
			far.send("error", failure("5")) // then the connection is closed, before all output is read
		})
		n := 0
		stdout := writer(func(p []byte) (int, error) {
			if n == 0 {
				time.Sleep(150 * time.Second)
			}
			n += len(p)
			return len(p), nil
		})
		s := &funcSession{funcLink: funcLink{Dial: d.bySPDY("stdout", "stderr"), Reconnect: ReconnectNever}, Stdout: stdout}
		err := s.Run(t.Context())
		var exit *ExitError
		if n != size || !errors.As(err, &exit) || exit.Code != 5 {
			t.Errorf("%d bytes of %d, %v", n, size, err)
		}
	})
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestSPDY_Resize(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sizes := make(chan string, 2)
		d := spdyPod(t, func(far *remoteSPDY) {
			if far.streams["stderr"] != nil {
				t.Error("stderr is open on a tty")
			}
			buf := make([]byte, 100)
			for range 2 {
				n, err := far.streams["resize"].Read(buf)
				if err != nil {
					t.Error(err)
				}
				sizes <- strings.TrimSpace(string(buf[:n]))
			}
			far.send("error", success)
		})
		resized := make(chan struct{}, 1)
		width := uint16(80)
		s := &funcSession{
			funcLink: funcLink{Dial: d.bySPDY("stdin", "stdout", "tty")},
			Size:     func() (uint16, uint16, bool) { return width, 24, true }, Resized: resized,
		}
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

// The server neither reads nor writes, so a write blocks. Without Close, client-go's
// executor would block as well.
func TestSPDY_CancelBlockedStdin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		over := make(chan struct{})
		d := spdyPod(t, func(far *remoteSPDY) {
			<-over
			_, _ = io.Copy(io.Discard, far.streams["stdin"]) // data sent before the end, so that this side can end as well
		})
		defer close(over)
		var endless endlessInput
		var taken atomic.Int64
		canceled := false
		s := &funcSession{
			funcLink: funcLink{Dial: d.bySPDY("stdin", "stdout", "stderr")},
			Stdin:    &endless, CancelStdin: func() bool { canceled = true; return true },
		}
		reason := errors.New("enough")
		time.AfterFunc(time.Hour, func() {
			taken.Store(endless.n.Load())
			cancel(reason)
		})
		start := time.Now()
		if err := s.Run(ctx); !errors.Is(err, reason) || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if !canceled {
			t.Error("CancelStdin was not called")
		}
		if n := taken.Load(); n > 4<<20 {
			t.Errorf("%d bytes of stdin are buffered", n)
		}
	})
}

type endlessInput struct{ n atomic.Int64 }

func (e *endlessInput) Read(p []byte) (int, error) {
	e.n.Add(int64(len(p)))
	return len(p), nil
}

func TestSPDY_OutputError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := spdyPod(t, func(far *remoteSPDY) {
			for {
				if _, err := io.WriteString(far.streams["stdout"], "y\n"); err != nil {
					return
				}
			}
		})
		full, stdin := errors.New("full"), make(blocked)
		s := &funcSession{
			funcLink: funcLink{Dial: d.bySPDY("stdin", "stdout", "stderr")},
			Stdin:    stdin, CancelStdin: func() bool { close(stdin); return true },
			Stdout: writer(func([]byte) (int, error) { return 0, full }),
		}
		if err := s.Run(t.Context()); !errors.Is(err, full) {
			t.Error(err)
		}
	})
}

// blocked is a reader that blocks until it is closed.
type blocked chan struct{}

func (b blocked) Read([]byte) (int, error) { <-b; return 0, io.EOF }

func TestSPDY_LostBeforeStreams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := spdyServer(t, func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n" +
				"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n")
			_ = rw.Flush()
			_, _ = rw.ReadByte() // the request for the first stream
		})
		start := time.Now()
		s := &funcSession{funcLink: funcLink{Dial: d.bySPDY("stdout"), Reconnect: ReconnectNever}}
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
			bubble(t, func(t *testing.T) {
				d := spdyServer(t, func(w http.ResponseWriter, r *http.Request) { c.answer(t, w, r) })
				_, err := d.bySPDY("stdout")(t.Context())
				if fmt.Sprint(err) != c.want || !failed(err) {
					t.Errorf("got  %v\nwant %s", err, c.want)
				}
			})
		})
	}
}

func TestDialSPDY_SilentServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := spdyServer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		start := time.Now()
		_, err := d.bySPDY("stdout")(t.Context())
		var unreachable *DialError
		if !errors.As(err, &unreachable) || time.Since(start) != handshakeTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if !strings.Contains(fmt.Sprint(err), "no answer to the SPDY handshake") {
			t.Errorf("message %v", err)
		}
		d.timeout = 5 * time.Second
		start = time.Now()
		if _, err = d.bySPDY("stdout")(t.Context()); !errors.As(err, &unreachable) || time.Since(start) != d.timeout {
			t.Errorf("with a timeout: %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("enough")
		time.AfterFunc(time.Second, func() { cancel(reason) })
		if _, err := d.bySPDY("stdout")(ctx); !errors.Is(err, reason) {
			t.Errorf("canceled: %v", err)
		}
	})
}

func TestSPDY_PanicInTransport(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := serve(t, nil)
		d.http1 = func() (http.RoundTripper, error) { return panickingTransport{}, nil }
		defer func() {
			if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "boom") {
				t.Errorf("recovered %v", r)
			}
		}()
		s := &funcSession{funcLink: funcLink{Dial: d.bySPDY("stdout")}}
		t.Errorf("Run returned %v", s.Run(t.Context()))
	})
}

type panickingTransport struct{}

func (panickingTransport) RoundTrip(*http.Request) (*http.Response, error) { panic("boom") }

// The output of a short command arrives, and the server closes the connection, before the
// client has received the answers to its requests for streams.
func TestSPDY_ShortCommand(t *testing.T) {
	for range 50 {
		bubble(t, func(t *testing.T) {
			d := spdyPod(t, func(far *remoteSPDY) {
				far.send("stdout", "out")
				far.send("error", failure("7"))
			})
			var stdout bytes.Buffer
			link := funcLink{Dial: d.bySPDY("stdin", "stdout", "stderr"), Reconnect: ReconnectNever}
			s := &funcSession{funcLink: link, Stdout: &stdout}
			err := s.Run(t.Context())
			var exit *ExitError
			if !errors.As(err, &exit) || stdout.String() != "out" {
				t.Errorf("stdout %q, %v", &stdout, err)
			}
		})
	}
}

// HTTP/2 has no upgrade. net/http avoids HTTP/2 only for WebSocket handshakes.
func TestDialSPDY_HTTP1(t *testing.T) {
	asked := make(chan string, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Proto + " " + r.Header.Get("Upgrade")
		w.WriteHeader(http.StatusForbidden)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	d, err := NewDialer(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.bySPDY("stdout")(t.Context())
	if got, want := <-asked, "HTTP/1.1 SPDY/3.1"; got != want || err == nil {
		t.Errorf("request %s, want %s; error %v", got, want, err)
	}
	transport, err := d.http1()
	if err != nil {
		t.Fatal(err)
	}
	utilnet.CloseIdleConnectionsFor(transport)
}

func TestSPDY_IdleTimer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := spdyPod(t, func(far *remoteSPDY) {
			far.SetIdleTimeout(20 * time.Minute)
			time.Sleep(time.Hour)
			far.send("error", success)
		})
		s := &funcSession{
			funcLink:  funcLink{Dial: d.bySPDY("stdout"), Reconnect: ReconnectNever},
			Keepalive: 10 * time.Second, IdleKeepalive: true,
		}
		start := time.Now()
		if err := s.Run(t.Context()); err != nil || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
