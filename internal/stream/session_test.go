package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

func (d *Dialer) with(protocols ...string) func(context.Context) (*Conn, error) {
	return func(ctx context.Context) (*Conn, error) {
		return d.Dial(ctx, Request{Path: "/exec", Protocols: protocols})
	}
}

// each runs a test with every subprotocol, in fake time.
func each(t *testing.T, test func(t *testing.T, protocol string)) {
	for _, protocol := range Protocols() {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, protocol) })
		})
	}
}

func statusFor(protocol, code string) string {
	switch {
	case code == "0" && codecs[protocol].status:
		return success
	case code == "0":
		return ""
	case codecs[protocol].status:
		return failure(code)
	default:
		return "command terminated with non-zero exit code: error executing command [x], exit code " + code
	}
}

func TestSession_OutputAndExitCode(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		d := pod(t, func(r remote) {
			r.send(chStdout, "")
			r.send(chStdout, "out\n")
			r.send(chStderr, "err\n")
			r.send(chStdout, "more\x00\xff")
			r.finish(statusFor(protocol, "7"))
		})
		var stdout, stderr bytes.Buffer
		s := &funcSession{funcLink: funcLink{Dial: d.with(protocol)}, Stdout: &stdout, Stderr: &stderr}
		err := s.Run(t.Context())
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Code != 7 {
			t.Errorf("got %v, want exit code 7", err)
		}
		if stdout.String() != "out\nmore\x00\xff" || stderr.String() != "err\n" {
			t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
		}
	})
}

func TestSession_Stdin(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	each(t, func(t *testing.T, protocol string) {
		d := pod(t, func(r remote) {
			n := 0
			for n < len(want) {
				ch, p, open := r.receive()
				if !open || ch != chStdin {
					t.Errorf("channel %d, open %v", ch, open)
					return
				}
				if p != string(want[n:n+len(p)]) {
					t.Errorf("bytes at %d differ", n)
				}
				n += len(p)
			}
			if protocol == V5 {
				if ch, p, _ := r.receive(); ch != chClose || p != "\x00" {
					t.Errorf("half-close: channel %d, %q", ch, p)
				}
			}
			r.finish(statusFor(protocol, "0"))
		})
		s := &funcSession{funcLink: funcLink{Dial: d.with(protocol)}, Stdin: bytes.NewReader(want)}
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestSession_EndWithoutStatusIsLoss(t *testing.T) {
	for name, end := range map[string]func(r remote){
		"normal close": func(r remote) { _ = r.Close(websocket.StatusNormalClosure, "") },
		"going away":   func(r remote) { _ = r.Close(websocket.StatusGoingAway, "bye") },
		"cut":          func(remote) {},
		"half a status": func(r remote) {
			_, _ = r.Writer(context.Background(), websocket.MessageBinary)
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, protocol string) {
				if name == "normal close" && !codecs[protocol].status {
					t.Skip("without a status, this is a success")
				}
				d := pod(t, func(r remote) {
					r.send(chStdout, "text")
					end(r)
				})
				s := &funcSession{funcLink: funcLink{Dial: d.with(protocol), Reconnect: ReconnectNever}}
				err := s.Run(t.Context())
				var lost *LostError
				if !errors.As(err, &lost) {
					t.Errorf("got %v, want a LostError", err)
				}
			})
		})
	}
}

func TestSession_OldProtocolsEndWithoutStatus(t *testing.T) {
	for _, protocol := range []string{Base64, Channel} {
		synctest.Test(t, func(t *testing.T) {
			d := pod(t, func(r remote) { _ = r.Close(websocket.StatusNormalClosure, "") })
			s := &funcSession{funcLink: funcLink{Dial: d.with(protocol), Reconnect: ReconnectNever}}
			if err := s.Run(t.Context()); err != nil {
				t.Errorf("%s: %v", protocol, err)
			}
		})
	}
}

func TestSession_SizeBeforeStdinAndNewestLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		width := uint16(80)
		resized := make(chan struct{}, 1)
		d := pod(t, func(r remote) {
			ch, p, _ := r.receive()
			if ch != chResize || p != `{"Width":80,"Height":24}` {
				t.Errorf("first message: channel %d %s, want the size", ch, p)
			}
			if ch, p, _ := r.receive(); ch != chStdin || p != "k" {
				t.Errorf("second message: channel %d %s, want the key", ch, p)
			}
			for w := uint16(81); w < 91; w++ {
				mu.Lock()
				width = w
				mu.Unlock()
				select {
				case resized <- struct{}{}:
				default:
				}
			}
			for {
				ch, p, open := r.receive()
				if !open || ch != chResize {
					t.Errorf("channel %d, open %v: the newest size was not sent", ch, open)
					return
				}
				if p == `{"Width":90,"Height":24}` {
					break
				}
			}
			r.finish(success)
		})
		keys, typed := io.Pipe()
		go func() { _, _ = typed.Write([]byte("k")) }()
		s := &funcSession{
			funcLink: funcLink{Dial: d.with(V5)}, Stdin: keys,
			CancelStdin: func() bool { return keys.CloseWithError(errors.New("over")) == nil },
			Size: func() (uint16, uint16, bool) {
				mu.Lock()
				defer mu.Unlock()
				return width, 24, true
			},
			Resized: resized,
		}
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestSession_ConnectingBeforeEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		sockets := 0
		d := pod(t, func(r remote) {
			if sockets++; sockets == 3 {
				r.finish(success)
			}
		})
		s := &funcSession{funcLink: funcLink{
			Dial: func(ctx context.Context) (*Conn, error) {
				events = append(events, "dial")
				return d.with(V5)(ctx)
			},
			OnConnect: func(attempt int) { events = append(events, fmt.Sprint("connect ", attempt)) },
			OnOpen:    func(*Conn) error { events = append(events, "open"); return nil },
		}}
		start := time.Now()
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
		want := "connect 1,dial,open,connect 2,dial,open,connect 3,dial,open"
		if got := strings.Join(events, ","); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if waited := time.Since(start); waited != 2*RetryDelay {
			t.Errorf("two retries took %v, want %v", waited, 2*RetryDelay)
		}
	})
}

func TestSession_FailedHasReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(r remote) { _ = r.Close(websocket.StatusGoingAway, "maintenance") })
		var reasons []error
		s := &funcSession{funcLink: funcLink{Dial: d.with(V5), OnFail: func(err error) { reasons = append(reasons, err) }}}
		err := s.Run(t.Context())
		var lost *LostError
		if !errors.As(err, &lost) || len(reasons) != 1 || !errors.Is(err, reasons[0]) {
			t.Fatalf("Run: %v; callback: %v", err, reasons)
		}
		if !strings.Contains(err.Error(), "maintenance") {
			t.Errorf("the reason is not in %q", err)
		}
	})
}

// Without an observer, a session reconnects by default.
func TestReconnectDefault(t *testing.T) {
	for _, observed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sockets := 0
			d := pod(t, func(r remote) {
				if sockets++; sockets == 2 {
					r.finish(success)
				}
			})
			var observe func(Event)
			if observed {
				observe = func(Event) {}
			}
			err := NewSession(funcDriver{&funcLink{Dial: d.with(V5)}}, observe, Settings{}).Run(t.Context())
			if observed != failed(err) {
				t.Errorf("observed %v: %v", observed, err)
			}
		})
	}
}

func TestReconnectAlways_WithObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sockets := 0
		d := pod(t, func(r remote) {
			if sockets++; sockets == 2 {
				r.finish(success)
			}
		})
		failures := 0
		s := &funcSession{funcLink: funcLink{
			Dial: d.with(V5), OnFail: func(error) { failures++ }, Reconnect: ReconnectAlways,
		}}
		if err := s.Run(t.Context()); err != nil || failures != 1 {
			t.Errorf("%v after %d failures", err, failures)
		}
	})
}

func TestCancel_NothingIsDeliveredAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(r remote) {
			for i := range 100 {
				r.send(chStdout, fmt.Sprint(i, "\n"))
			}
			r.finish(success)
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("enough")
		var out bytes.Buffer
		s := &funcSession{funcLink: funcLink{Dial: d.with(V5)}, Stdout: writerFunc(func(p []byte) (int, error) {
			cancel(stop)
			return out.Write(p)
		})}
		if err := s.Run(ctx); !errors.Is(err, stop) {
			t.Errorf("Run gave %v, want the cause of the cancel", err)
		}
		if out.String() != "0\n" {
			t.Errorf("delivered %q after the cancel", out.String())
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestCancel_WhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		d := pod(t, func(remote) {})
		s := &funcSession{funcLink: funcLink{Dial: d.with(V5), OnConnect: func(int) { attempts++ }}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // in the middle of the first wait of 3 s
		defer cancel()
		if err := s.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if attempts != 1 {
			t.Errorf("%d attempts, want 1: one came after the cancel", attempts)
		}
	})
}

func TestCancel_ClosesConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		d := pod(t, func(r remote) {
			r.receive()
			close(gone)
		})
		ctx, cancel := context.WithCancel(t.Context())
		s := &funcSession{funcLink: funcLink{
			Dial: d.with(V5), OnOpen: func(*Conn) error { time.AfterFunc(time.Second, cancel); return nil },
		}}
		if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-gone // the bubble fails if this never happens
	})
}

func TestCancel_WhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := pod(t, func(r remote) { r.receive() })
		opened := false
		s := &funcSession{funcLink: funcLink{
			Dial: func(ctx context.Context) (*Conn, error) {
				conn, err := d.with(V5)(ctx)
				cancel() // the answer arrives after the cancel
				return conn, err
			},
			OnOpen: func(*Conn) error { opened = true; return nil },
		}}
		if err := s.Run(ctx); !errors.Is(err, context.Canceled) || opened {
			t.Errorf("%v, opened %v", err, opened)
		}
	})
}

func TestSession_Conn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sockets := 0
		d := pod(t, func(r remote) {
			if sockets++; sockets == 2 {
				r.finish(success)
			}
		})
		s := &funcSession{funcLink: funcLink{Dial: d.with(V4)}}
		if s.Conn() != nil {
			t.Error("a connection before Run")
		}
		s.OnOpen = func(c *Conn) error {
			if s.Conn() != c || c.Protocol() != V4 {
				t.Errorf("live %v (%s), opened %v", s.Conn(), c.Protocol(), c)
			}
			return nil
		}
		s.OnWait = func(time.Duration) {
			if s.Conn() != nil {
				t.Error("a connection between two sockets")
			}
		}
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
		if s.Conn() != nil {
			t.Error("a connection after Run")
		}
	})
}

func TestConnectTimeout(t *testing.T) {
	dial := func(context.Context) (*Conn, error) { return nil, &DialError{Server: "s", Err: errors.New("refused")} }
	for limit, want := range map[time.Duration]int{0: 1, time.Hour: 4, 8 * time.Second: 3} {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			s := &funcSession{funcLink: funcLink{
				Dial: dial, Reconnect: ReconnectNever, OnConnect: func(int) { attempts++ },
				ConnectTimeout: limit,
			}}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := s.Run(ctx)
			if attempts != want {
				t.Errorf("ConnectTimeout %v: %d attempts in 10 s, want %d (%v)", limit, attempts, want, err)
			}
		})
	}
}

func TestConnectTimeout_PermanentFailure(t *testing.T) {
	for name, err := range map[string]error{
		"refused":                    &HandshakeError{StatusCode: http.StatusForbidden},
		"target that will never run": &NotReadyError{Err: errors.New("gone"), Final: true},
	} {
		t.Run(name, func(t *testing.T) {
			attempts := 0
			s := &funcSession{funcLink: funcLink{
				Dial:           func(context.Context) (*Conn, error) { attempts++; return nil, err },
				ConnectTimeout: time.Hour,
			}}
			if got := s.Run(t.Context()); !errors.Is(got, err) || attempts != 1 {
				t.Errorf("%v after %d attempts, want %v after 1", got, attempts, err)
			}
		})
	}
}

// A target that is not running may run later.
func TestSessionReconnect_TargetNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(r remote) { r.finish(failure("7")) })
		opens := []func(context.Context) (*Conn, error){
			d.with(V5),
			func(context.Context) (*Conn, error) { return nil, &NotReadyError{Err: errors.New("no pod")} },
			d.with(V5),
		}
		lost := errors.New("the pod is gone")
		s := &funcSession{
			funcLink: funcLink{Reconnect: ReconnectAlways, Dial: func(ctx context.Context) (*Conn, error) {
				open := opens[0]
				opens = opens[1:]
				return open(ctx)
			}},
			OnEnded: func(_ context.Context, err error) error {
				if len(opens) == 2 {
					return &LostError{lost}
				}
				return err
			},
		}
		var failures []error
		s.OnFail = func(err error) { failures = append(failures, err) }
		var exit *ExitError
		if err := s.Run(t.Context()); !errors.As(err, &exit) || exit.Code != 7 {
			t.Errorf("ended by %v, want code 7", err)
		}
		if len(failures) != 2 || !errors.Is(failures[0], lost) || failures[1].Error() != "no pod" {
			t.Errorf("failures %v", failures)
		}
	})
}

func TestSession_Drop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(r remote) { r.receive() })
		s := &funcSession{funcLink: funcLink{Dial: d.with(V5), Reconnect: ReconnectNever}}
		reason := errors.New("the node is lost")
		s.OnOpen = func(*Conn) error {
			time.AfterFunc(time.Second, func() { s.Drop(reason) })
			return nil
		}
		var lost *LostError
		if err := s.Run(t.Context()); !errors.As(err, &lost) || !errors.Is(err, reason) {
			t.Errorf("ended by %v", err)
		}
	})
}

func TestSession_RoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(r remote) { r.receive() })
		s := &funcSession{funcLink: funcLink{Dial: d.with(V5), Reconnect: ReconnectNever}}
		if _, ok := s.RoundTrip(t.Context()); ok {
			t.Error("an answer before the first connection")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var ok bool
		s.OnOpen = func(*Conn) error {
			go func() {
				defer cancel()
				_, ok = s.RoundTrip(ctx)
			}()
			return nil
		}
		_ = s.Run(ctx) // the cancel
		if !ok {
			t.Error("no answer")
		}
	})
}

// keyboard is a stdin with which a test types.
type keyboard struct {
	*io.PipeReader
	typed *io.PipeWriter
}

func newKeyboard() keyboard {
	r, w := io.Pipe()
	return keyboard{r, w}
}

func (k keyboard) press(keys string) { _, _ = k.typed.Write([]byte(keys)) }
func (k keyboard) cancel() bool      { return k.CloseWithError(errors.New("cancelled")) == nil }

func TestInteractive_KeysWhileDisconnected(t *testing.T) {
	for name, c := range map[string]struct {
		keys     string
		attempts int
		waited   time.Duration
	}{
		"Ctrl-D gives up":         {"\x04", 1, time.Second},
		"Ctrl-C gives up":         {"\x03", 1, time.Second},
		"Enter tries at once":     {"\r", 2, time.Second},
		"other keys are dropped":  {"ls", 2, RetryDelay},
		"a paste with Ctrl-C":     {"abc\x03", 1, time.Second},
		"a tilde is dropped":      {"~.", 2, RetryDelay},
		"a whole line is dropped": {"rm -rf /", 2, RetryDelay},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sockets := 0
				d := pod(t, func(r remote) {
					if sockets++; sockets == 1 {
						return
					}
					r.finish(success)
					if ch, p, open := r.receive(); open {
						t.Errorf("the new shell got channel %d %q", ch, p)
					}
				})
				k := newKeyboard()
				attempts := 0
				s := &funcSession{
					funcLink: funcLink{
						Dial: d.with(V5), OnConnect: func(int) { attempts++ },
						OnWait: func(time.Duration) { time.AfterFunc(time.Second, func() { k.press(c.keys) }) },
					},
					Stdin: k, CancelStdin: k.cancel, Interactive: true,
				}
				start := time.Now()
				err := s.Run(t.Context())
				if attempts != c.attempts || time.Since(start) != c.waited {
					t.Errorf("%d attempts after %v, want %d after %v", attempts, time.Since(start), c.attempts, c.waited)
				}
				var lost *LostError
				if gaveUp := c.attempts == 1; gaveUp != errors.As(err, &lost) {
					t.Errorf("ended with %v", err)
				}
				synctest.Wait()
			})
		})
	}
}

func TestInteractive_ConnectionEndsAfterCtrlD(t *testing.T) {
	for keys, attempts := range map[string]int{"exit\x04": 1, "\x04q": 2} {
		synctest.Test(t, func(t *testing.T) {
			sockets := 0
			d := pod(t, func(r remote) {
				if sockets++; sockets == 1 {
					r.receive()
					return
				}
				r.finish(success)
			})
			k := newKeyboard()
			got := 0
			s := &funcSession{
				funcLink: funcLink{
					Dial: d.with(V5), OnConnect: func(int) { got++ },
					OnOpen: func(*Conn) error { time.AfterFunc(1, func() { k.press(keys) }); return nil },
				},
				Stdin: k, CancelStdin: k.cancel, Interactive: true,
			}
			err := s.Run(t.Context())
			var lost *LostError
			if got != attempts || errors.As(err, &lost) != (attempts == 1) {
				t.Errorf("%q: %d attempts, ended with %v", keys, got, err)
			}
			synctest.Wait()
		})
	}
}

func TestSession_StdinError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(r remote) {
			for {
				ch, _, open := r.receive()
				if ch == chClose {
					t.Error("the remote was told that stdin ended")
				}
				if !open {
					return
				}
			}
		})
		bad := errors.New("read error")
		s := &funcSession{
			funcLink: funcLink{Dial: d.with(V5)},
			Stdin:    io.MultiReader(strings.NewReader("half"), failingReader{bad}),
		}
		err := s.Run(t.Context())
		var input *InputError
		if !errors.As(err, &input) || !errors.Is(err, bad) {
			t.Errorf("got %v, want an InputError", err)
		}
		synctest.Wait()
	})
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

func TestSession_StdoutError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(r remote) {
			for range 1000 {
				r.send(chStdout, "y\n")
			}
			r.receive()
		})
		full := errors.New("no space left")
		s := &funcSession{
			funcLink: funcLink{Dial: d.with(V5)},
			Stdout:   writerFunc(func([]byte) (int, error) { return 0, full }),
		}
		var out *OutputError
		if err := s.Run(t.Context()); !errors.As(err, &out) || !errors.Is(err, full) {
			t.Errorf("got %v, want an OutputError", err)
		}
	})
}

func TestSession_StdinNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(r remote) {
			time.Sleep(time.Second) // the client's write is blocked: a pipe in memory has no buffer
			r.send(chError, failure("3"))
			time.Sleep(time.Hour)
		})
		s := &funcSession{funcLink: funcLink{Dial: d.with(V5)}, Stdin: endless{}}
		var exit *ExitError
		if err := s.Run(t.Context()); !errors.As(err, &exit) || exit.Code != 3 {
			t.Errorf("got %v, want exit code 3", err)
		}
		time.Sleep(time.Hour)
	})
}

// endless is a stdin that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestSession_Panics(t *testing.T) {
	for name, set := range map[string]func(s *funcSession){
		"stdin":  func(s *funcSession) { s.Stdin = panicking{} },
		"stdout": func(s *funcSession) { s.Stdout = panicking{} },
		"resize": func(s *funcSession) {
			asked := 0
			s.Size = func() (uint16, uint16, bool) {
				if asked++; asked > 1 {
					panic("boom")
				}
				return 80, 24, true
			}
			resized := make(chan struct{}, 1)
			resized <- struct{}{}
			s.Resized = resized
		},
		"callback": func(s *funcSession) { s.OnOpen = func(*Conn) error { panic("boom") } },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := pod(t, func(r remote) {
					r.send(chStdout, "text")
					for open := true; open; {
						_, _, open = r.receive()
					}
				})
				s := &funcSession{funcLink: funcLink{Dial: d.with(V5)}}
				set(s)
				defer func() {
					if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "boom") {
						t.Errorf("recovered %v", p)
					}
				}()
				err := s.Run(t.Context())
				t.Errorf("Run returned %v", err)
			})
		})
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error)  { panic("boom") }
func (panicking) Write([]byte) (int, error) { panic("boom") }

func TestSession_StdinCannotBeCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(r remote) { r.finish(success) })
		k := newKeyboard()
		s := &funcSession{funcLink: funcLink{Dial: d.with(V5)}, Stdin: k, CancelStdin: func() bool { return false }}
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
		k.cancel() // the goroutine that reads must end with the bubble
	})
}

func TestSession_OpenedReturnsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noTerminal := errors.New("no terminal")
		d := pod(t, func(r remote) { r.receive() })
		s := &funcSession{funcLink: funcLink{Dial: d.with(V5), OnOpen: func(*Conn) error { return noTerminal }}}
		if err := s.Run(t.Context()); !errors.Is(err, noTerminal) {
			t.Error(err)
		}
		synctest.Wait()
	})
}

func TestInteractive_KeysDuringOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sockets := 0
		d := pod(t, func(r remote) {
			if sockets++; sockets == 1 {
				return
			}
			if ch, _, _ := r.receive(); ch != chResize {
				t.Errorf("first message on channel %d, want the size", ch)
			}
			if ch, p, _ := r.receive(); ch != chStdin || p != "\x03ls\r" {
				t.Errorf("channel %d %q, want the keys", ch, p)
			}
			r.finish(success)
		})
		k := newKeyboard()
		opened := 0
		s := &funcSession{
			Stdin: k, CancelStdin: k.cancel, Interactive: true,
			Size: func() (uint16, uint16, bool) { return 80, 24, true },
		}
		s.Dial = d.with(V5)
		s.OnOpen = func(*Conn) error {
			if opened++; opened == 2 { // the user types as soon as "connected again" is shown
				go k.press("\x03ls\r")
				synctest.Wait()
			}
			return nil
		}
		if err := s.Run(t.Context()); err != nil || opened != 2 {
			t.Errorf("%v after %d sockets", err, opened)
		}
		synctest.Wait()
	})
}

// A server may open a connection although the node is dead. With Proof, a new
// connection counts only when it has brought output.
func TestProof(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		sockets, opened, early := 0, 0, 0
		var failures []string
		d := pod(t, func(r remote) {
			r.send(chStdout, "")
			switch sockets++; sockets {
			case 1: // counts without output: it is the first
			case 2:
				for range 2 {
					if ch, _, open := r.receive(); open && ch != chResize {
						early++
					}
				}
			case 3:
				r.finish(statusFor(protocol, "0"))
			case 4:
				r.send(chStdout, "hello ")
				r.send(chStdout, "world")
				r.finish(statusFor(protocol, "7"))
			}
		})
		k := newKeyboard()
		var out bytes.Buffer
		s := &funcSession{
			Stdin: k, CancelStdin: k.cancel, Interactive: true, Proof: 20 * time.Second, Stdout: &out,
			Size: func() (uint16, uint16, bool) { return 80, 24, true },
		}
		s.Dial, s.Reconnect = d.with(protocol), ReconnectAlways
		s.OnOpen = func(*Conn) error { opened++; return nil }
		s.OnFail = func(err error) { failures = append(failures, err.Error()) }
		start := time.Now()
		time.AfterFunc(RetryDelay+time.Second, func() { k.press("x") }) // while the second one is silent
		err := s.Run(t.Context())
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Code != 7 || out.String() != "hello world" {
			t.Errorf("ended by %v, output %q", err, &out)
		}
		if opened != 2 || early != 0 {
			t.Errorf("%d connections counted, want the first and the fourth; %d keys were sent on a silent one", opened, early)
		}
		if want := (&LostError{errNoOutput}).Error(); len(failures) != 3 || failures[1] != want || failures[2] != want {
			t.Errorf("failures %q", failures)
		}
		if took := time.Since(start); took != 3*RetryDelay+s.Proof {
			t.Errorf("took %v", took)
		}
		synctest.Wait()
	})
}

func TestProof_CtrlDBeforeOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sockets := 0
		d := pod(t, func(r remote) {
			if sockets++; sockets > 1 {
				r.receive()
			}
		})
		k := newKeyboard()
		s := &funcSession{Stdin: k, CancelStdin: k.cancel, Interactive: true, Proof: 20 * time.Second}
		s.Dial = d.with(V5)
		start := time.Now()
		time.AfterFunc(RetryDelay+time.Second, func() { k.press("\x04") })
		var lost *LostError
		if err := s.Run(t.Context()); !errors.As(err, &lost) || time.Since(start) != RetryDelay+time.Second {
			t.Errorf("ended by %v after %v", err, time.Since(start))
		}
		synctest.Wait()
	})
}

func TestEnded_CtrlDDuringCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(remote) {})
		k := newKeyboard()
		attempts := 0
		s := &funcSession{Stdin: k, CancelStdin: k.cancel, Interactive: true}
		s.Dial = d.with(V5)
		s.OnConnect = func(int) { attempts++ }
		s.OnEnded = func(_ context.Context, err error) error {
			synctest.Wait() // stdin is read
			k.press("\x04")
			synctest.Wait()
			return err
		}
		var lost *LostError
		if err := s.Run(t.Context()); !errors.As(err, &lost) || attempts != 1 {
			t.Errorf("ended by %v after %d attempts", err, attempts)
		}
		synctest.Wait()
	})
}

// The context of Ended ends when the user gives up.
func TestEnded_ContextEndsOnCtrlC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(remote) {})
		k := newKeyboard()
		s := &funcSession{Stdin: k, CancelStdin: k.cancel, Interactive: true, funcLink: funcLink{Dial: d.with(V5)}}
		begin := time.Now()
		s.OnEnded = func(ctx context.Context, err error) error {
			time.AfterFunc(time.Second, func() { k.press("\x03") })
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
			return &LostError{err}
		}
		var lost *LostError
		if err := s.Run(t.Context()); !errors.As(err, &lost) || time.Since(begin) != time.Second {
			t.Errorf("ended by %v after %v", err, time.Since(begin))
		}
		synctest.Wait()
	})
}

func TestDrop_FirstReasonCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(r remote) { r.receive() })
		s := &funcSession{funcLink: funcLink{Dial: d.with(V5), Reconnect: ReconnectNever}}
		s.OnOpen = func(*Conn) error {
			time.AfterFunc(time.Second, func() {
				s.Drop(errDead)
				s.Drop(&LostError{errAgain}) // of another type
			})
			return nil
		}
		if err := s.Run(t.Context()); !errors.Is(err, errDead) {
			t.Errorf("ended by %v", err)
		}
	})
}
