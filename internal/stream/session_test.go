package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// dialFunc returns a function for testDriver that offers protocols.
func (d *Dialer) dialFunc(protocols ...string) func(context.Context) (*Conn, error) {
	return func(ctx context.Context) (*Conn, error) {
		return d.Dial(ctx, Request{Path: "/exec", Protocols: protocols})
	}
}

// forEachProtocol runs a test with every subprotocol, in fake time.
func forEachProtocol(t *testing.T, test func(t *testing.T, protocol string)) {
	for _, protocol := range Protocols() {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, protocol) })
		})
	}
}

// statusFor returns the message that reports an exit code.
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
	forEachProtocol(t, func(t *testing.T, protocol string) {
		d := serveExec(t, func(r serverConn) {
			r.send(chStdout, "")
			r.send(chStdout, "out\n")
			r.send(chStderr, "err\n")
			r.send(chStdout, "more\x00\xff")
			r.closeWithStatus(statusFor(protocol, "7"))
		})
		var stdout, stderr bytes.Buffer
		s := newTestSession(d.dialFunc(protocol), Settings{Stdout: &stdout, Stderr: &stderr})
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
	forEachProtocol(t, func(t *testing.T, protocol string) {
		d := serveExec(t, func(r serverConn) {
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
			r.closeWithStatus(statusFor(protocol, "0"))
		})
		s := newTestSession(d.dialFunc(protocol), Settings{Stdin: bytes.NewReader(want)})
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// If the connection ends without a status, the outcome is a LostError, and
// never a success.
func TestSession_EndWithoutStatusIsLoss(t *testing.T) {
	for name, end := range map[string]func(r serverConn){
		"normal close": func(r serverConn) { _ = r.Close(websocket.StatusNormalClosure, "") },
		"going away":   func(r serverConn) { _ = r.Close(websocket.StatusGoingAway, "bye") },
		"cut":          func(serverConn) {},
		"half a status": func(r serverConn) {
			_, _ = r.Writer(context.Background(), websocket.MessageBinary)
		},
	} {
		t.Run(name, func(t *testing.T) {
			forEachProtocol(t, func(t *testing.T, protocol string) {
				if name == "normal close" && !codecs[protocol].status {
					t.Skip("without a status, a normal close means success")
				}
				d := serveExec(t, func(r serverConn) {
					r.send(chStdout, "text")
					end(r)
				})
				s := newTestSession(d.dialFunc(protocol), Settings{LinkSettings: noReconnect})
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
			d := serveExec(t, func(r serverConn) { _ = r.Close(websocket.StatusNormalClosure, "") })
			s := newTestSession(d.dialFunc(protocol), Settings{LinkSettings: noReconnect})
			if err := s.Run(t.Context()); err != nil {
				t.Errorf("%s: %v", protocol, err)
			}
		})
	}
}

// The size is sent before any stdin, and the newest size is sent last.
func TestSession_Window(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		width := uint16(80)
		resized := make(chan struct{}, 1)
		d := serveExec(t, func(r serverConn) {
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
					t.Errorf("channel %d, open %v, want the newest size", ch, open)
					return
				}
				if p == `{"Width":90,"Height":24}` {
					break
				}
			}
			r.closeWithStatus(success)
		})
		k := newKeyboard()
		go k.press("k")
		currentWidth := func() uint16 {
			mu.Lock()
			defer mu.Unlock()
			return width
		}
		s := newTestSession(d.dialFunc(V5), Settings{Stdin: k, Window: testWindow{currentWidth, resized}})
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestCancel_NothingIsDeliveredAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(r serverConn) {
			for i := range 100 {
				r.send(chStdout, fmt.Sprint(i, "\n"))
			}
			r.closeWithStatus(success)
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("enough")
		var out bytes.Buffer
		s := newTestSession(d.dialFunc(V5), Settings{Stdout: writerFunc(func(p []byte) (int, error) {
			cancel(stop)
			return out.Write(p)
		})})
		if err := s.Run(ctx); !errors.Is(err, stop) {
			t.Errorf("got %v, want the cause of the cancel", err)
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
		d := serveExec(t, func(serverConn) {})
		observe := on(func(Connecting) { attempts++ })
		s := NewSession(&testDriver{dial: d.dialFunc(V5)}, observe, Settings{LinkSettings: alwaysReconnect})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // ends during the first delay, which is 3 s
		defer cancel()
		if err := s.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if attempts != 1 {
			t.Errorf("%d attempts, want none after the cancel", attempts)
		}
	})
}

func TestCancel_ClosesConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan struct{})
		d := serveExec(t, func(r serverConn) {
			r.receive()
			close(closed)
		})
		ctx, cancel := context.WithCancel(t.Context())
		driver := &testDriver{
			dial:   d.dialFunc(V5),
			opened: func(*Conn) error { time.AfterFunc(time.Second, cancel); return nil },
		}
		if err := NewSession(driver, nil, Settings{}).Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-closed // if closed is never closed, synctest reports a deadlock
	})
}

// The context is canceled after the server has accepted the connection and
// before Dial returns.
func TestCancel_WhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := serveExec(t, func(r serverConn) { r.receive() })
		opened := false
		driver := &testDriver{
			dial: func(ctx context.Context) (*Conn, error) {
				conn, err := d.dialFunc(V5)(ctx)
				cancel()
				return conn, err
			},
			opened: func(*Conn) error { opened = true; return nil },
		}
		if err := NewSession(driver, nil, Settings{}).Run(ctx); !errors.Is(err, context.Canceled) || opened {
			t.Errorf("%v, opened %v", err, opened)
		}
	})
}

// If Stdin fails, the remote's stdin must not be closed, because the input
// would look complete.
func TestSession_StdinError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(r serverConn) {
			for {
				ch, _, open := r.receive()
				if ch == chClose {
					t.Error("stdin was closed")
				}
				if !open {
					return
				}
			}
		})
		broken := errors.New("input/output error")
		stdin := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken))
		err := newTestSession(d.dialFunc(V5), Settings{Stdin: stdin}).Run(t.Context())
		var input *InputError
		if !errors.As(err, &input) || !errors.Is(err, broken) {
			t.Errorf("got %v, want an InputError", err)
		}
		synctest.Wait()
	})
}

func TestSession_StdoutError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(r serverConn) {
			for range 1000 {
				r.send(chStdout, "y\n")
			}
			r.receive()
		})
		full := errors.New("no space left")
		stdout := writerFunc(func([]byte) (int, error) { return 0, full })
		err := newTestSession(d.dialFunc(V5), Settings{Stdout: stdout}).Run(t.Context())
		var out *OutputError
		if !errors.As(err, &out) || !errors.Is(err, full) {
			t.Errorf("got %v, want an OutputError", err)
		}
	})
}

// A status is received even if the remote never reads its stdin.
func TestSession_StatusWhileStdinBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(r serverConn) {
			time.Sleep(time.Second) // a net.Pipe has no buffer, so the client's write blocks by now
			r.send(chError, failure("3"))
			time.Sleep(time.Hour)
		})
		err := newTestSession(d.dialFunc(V5), Settings{Stdin: &endlessInput{}}).Run(t.Context())
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Code != 3 {
			t.Errorf("got %v, want exit code 3", err)
		}
		time.Sleep(time.Hour)
	})
}

func TestSession_Panics(t *testing.T) {
	sizes := 0
	resized := make(chan struct{}, 1)
	resized <- struct{}{}
	for name, c := range map[string]struct {
		set    Settings
		opened func(*Conn) error
	}{
		"stdin":  {set: Settings{Stdin: panicking{}}},
		"stdout": {set: Settings{Stdout: panicking{}}},
		"resize": {set: Settings{Window: testWindow{func() uint16 {
			if sizes++; sizes > 1 {
				panic("boom")
			}
			return 80
		}, resized}}},
		"Opened": {opened: func(*Conn) error { panic("boom") }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := serveExec(t, func(r serverConn) {
					r.send(chStdout, "text")
					r.readAll()
				})
				s := NewSession(&testDriver{dial: d.dialFunc(V5), opened: c.opened}, nil, c.set)
				mustPanic(t, "boom", func() { _ = s.Run(t.Context()) })
			})
		})
	}
}

// panicking is a stream whose methods panic.
type panicking struct{}

func (panicking) Read([]byte) (int, error)  { panic("boom") }
func (panicking) Write([]byte) (int, error) { panic("boom") }

// Run does not wait for a Read of a stdin that cannot be canceled.
func TestSession_StdinCannotBeCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(r serverConn) { r.closeWithStatus(success) })
		k := newKeyboard()
		s := newTestSession(d.dialFunc(V5), Settings{Stdin: notCancelable{k}})
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
		k.Cancel() // ends the Read, because all goroutines of a synctest bubble must end
	})
}

type notCancelable struct{ keyboard }

func (notCancelable) Cancel() bool { return false }

func TestSession_OpenedError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noTerminal := errors.New("no terminal")
		d := serveExec(t, func(r serverConn) { r.receive() })
		driver := &testDriver{dial: d.dialFunc(V5), opened: func(*Conn) error { return noTerminal }}
		if err := NewSession(driver, nil, Settings{}).Run(t.Context()); !errors.Is(err, noTerminal) {
			t.Error(err)
		}
		synctest.Wait()
	})
}
