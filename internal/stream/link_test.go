package stream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// succeedOnConnection returns a dialer for a server that drops the first n-1
// connections and reports success on the nth one.
func succeedOnConnection(t *testing.T, n int) *Dialer {
	connections := 0
	return serveExec(t, func(r serverConn) {
		if connections++; connections == n {
			r.closeWithStatus(success)
		}
	})
}

func TestSession_ConnectingBeforeEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		d := succeedOnConnection(t, 3)
		driver := &testDriver{
			dial: func(ctx context.Context) (*Conn, error) {
				events = append(events, "dial")
				return d.dialFunc(V5)(ctx)
			},
			opened: func(*Conn) error { events = append(events, "opened"); return nil },
		}
		observe := on(func(e Connecting) { events = append(events, fmt.Sprint("connecting ", e.Attempt)) })
		start := time.Now()
		if err := NewSession(driver, observe, Settings{LinkSettings: alwaysReconnect}).Run(t.Context()); err != nil {
			t.Error(err)
		}
		want := "connecting 1,dial,opened,connecting 2,dial,opened,connecting 3,dial,opened"
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
		d := serveExec(t, func(r serverConn) { _ = r.Close(websocket.StatusGoingAway, "maintenance") })
		var reasons []error
		observe := on(func(e Failed) { reasons = append(reasons, e.Err) })
		err := NewSession(&testDriver{dial: d.dialFunc(V5)}, observe, Settings{}).Run(t.Context())
		var lost *LostError
		if !errors.As(err, &lost) || len(reasons) != 1 || !errors.Is(err, reasons[0]) {
			t.Fatalf("Run: %v; failures: %v", err, reasons)
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
			d := succeedOnConnection(t, 2)
			var observe func(Event)
			if observed {
				observe = func(Event) {}
			}
			err := NewSession(&testDriver{dial: d.dialFunc(V5)}, observe, Settings{}).Run(t.Context())
			if observed != IsFailure(err) {
				t.Errorf("observed %v: %v", observed, err)
			}
		})
	}
}

func TestReconnectAlways_WithObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := succeedOnConnection(t, 2)
		failures := 0
		observe := on(func(Failed) { failures++ })
		s := NewSession(&testDriver{dial: d.dialFunc(V5)}, observe, Settings{LinkSettings: alwaysReconnect})
		if err := s.Run(t.Context()); err != nil || failures != 1 {
			t.Errorf("%v after %d failures", err, failures)
		}
	})
}

func TestSession_Conn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := succeedOnConnection(t, 2)
		var s *Session
		driver := &testDriver{dial: d.dialFunc(V4), opened: func(c *Conn) error {
			if s.Conn() != c || c.Protocol() != V4 {
				t.Errorf("live %v (%s), opened %v", s.Conn(), c.Protocol(), c)
			}
			return nil
		}}
		observe := on(func(Waiting) {
			if s.Conn() != nil {
				t.Error("a connection between two attempts")
			}
		})
		s = NewSession(driver, observe, Settings{LinkSettings: alwaysReconnect})
		if s.Conn() != nil {
			t.Error("a connection before Run")
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
			set := Settings{LinkSettings: LinkSettings{Reconnect: ReconnectNever, ConnectTimeout: limit}}
			s := NewSession(&testDriver{dial: dial}, on(func(Connecting) { attempts++ }), set)
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
		"refused":                   &HandshakeError{StatusCode: http.StatusForbidden},
		"the target will never run": &NotReadyError{Err: errors.New("gone"), Final: true},
	} {
		t.Run(name, func(t *testing.T) {
			attempts := 0
			dial := func(context.Context) (*Conn, error) { attempts++; return nil, err }
			s := newTestSession(dial, Settings{LinkSettings: LinkSettings{ConnectTimeout: time.Hour}})
			if got := s.Run(t.Context()); !errors.Is(got, err) || attempts != 1 {
				t.Errorf("%v after %d attempts, want %v after 1", got, attempts, err)
			}
		})
	}
}

func TestSessionReconnect_TargetNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(r serverConn) { r.closeWithStatus(failure("7")) })
		dials := []func(context.Context) (*Conn, error){
			d.dialFunc(V5),
			func(context.Context) (*Conn, error) { return nil, &NotReadyError{Err: errors.New("no pod")} },
			d.dialFunc(V5),
		}
		lost := errors.New("the pod is gone")
		driver := &testDriver{
			dial: func(ctx context.Context) (*Conn, error) {
				dial := dials[0]
				dials = dials[1:]
				return dial(ctx)
			},
			ended: func(_ context.Context, err error) error {
				if len(dials) == 2 {
					return &LostError{lost}
				}
				return err
			},
		}
		var failures []error
		observe := on(func(e Failed) { failures = append(failures, e.Err) })
		err := NewSession(driver, observe, Settings{LinkSettings: alwaysReconnect}).Run(t.Context())
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Code != 7 {
			t.Errorf("ended by %v, want code 7", err)
		}
		if len(failures) != 2 || !errors.Is(failures[0], lost) || failures[1].Error() != "no pod" {
			t.Errorf("failures %v", failures)
		}
	})
}

func TestDrop_Reason(t *testing.T) {
	reason := errors.New("the node is lost")
	for name, c := range map[string]struct {
		reasons []error
		want    error
	}{
		"one":        {[]error{reason}, reason},
		"first wins": {[]error{errDead, &LostError{errAgain}}, errDead}, // the reasons have different types
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := serveExec(t, func(r serverConn) { r.receive() })
				var s *Session
				driver := &testDriver{dial: d.dialFunc(V5), opened: func(*Conn) error {
					time.AfterFunc(time.Second, func() {
						for _, reason := range c.reasons {
							s.Drop(reason)
						}
					})
					return nil
				}}
				s = NewSession(driver, nil, Settings{LinkSettings: noReconnect})
				err := s.Run(t.Context())
				var lost *LostError
				if !errors.As(err, &lost) || !errors.Is(err, c.want) {
					t.Errorf("ended by %v", err)
				}
			})
		})
	}
}

func TestSession_RoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(r serverConn) { r.receive() })
		ctx, cancel := context.WithCancel(t.Context())
		var s *Session
		var ok bool
		driver := &testDriver{dial: d.dialFunc(V5), opened: func(*Conn) error {
			go func() {
				defer cancel()
				_, ok = s.RoundTrip(ctx)
			}()
			return nil
		}}
		s = NewSession(driver, nil, Settings{LinkSettings: noReconnect})
		if _, ok := s.RoundTrip(t.Context()); ok {
			t.Error("an answer before there was a connection")
		}
		_ = s.Run(ctx) // always context.Canceled, because the goroutine cancels ctx
		if !ok {
			t.Error("no answer")
		}
	})
}

// An attempt that lasts 5 s or more is reported every second, until
// Driver.Opened is called or the attempt fails.
func TestSession_Unanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const setUp = 7500 * time.Millisecond
		d := serveExec(t, func(r serverConn) {
			time.Sleep(time.Minute)
			r.closeWithStatus(success)
		})
		attempt := 0
		dial := func(ctx context.Context) (*Conn, error) {
			if attempt++; attempt == 1 {
				time.Sleep(setUp)
				return nil, &DialError{Server: "s", Err: errors.New("refused")}
			}
			time.Sleep(setUp)
			return d.dialFunc(V5)(ctx)
		}
		var events []string
		observe := func(e Event) {
			switch e := e.(type) {
			case Unanswered:
				events = append(events, e.For.String())
			case Connecting, Failed:
				events = append(events, fmt.Sprintf("%T", e))
			}
		}
		set := Settings{LinkSettings: LinkSettings{ConnectTimeout: time.Hour}}
		if err := NewSession(&testDriver{dial: dial}, observe, set).Run(t.Context()); err != nil {
			t.Error(err)
		}
		want := "[stream.Connecting 5s 6s 7s stream.Failed stream.Connecting 5s 6s 7s]"
		if got := fmt.Sprint(events); got != want {
			t.Errorf("events %s, want %s", got, want)
		}
	})
}

// With Settings.Proof, an attempt lasts until its connection has delivered
// output.
func TestSession_UnansweredBeforeProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connections := 0
		d := serveExec(t, func(r serverConn) {
			if connections++; connections == 1 {
				printStdout(r)
				return
			}
			time.Sleep(6500 * time.Millisecond)
			printStdout(r)
			r.closeWithStatus(success)
		})
		var events []time.Duration
		set := Settings{LinkSettings: alwaysReconnect, Proof: 20 * time.Second}
		s := NewSession(&testDriver{dial: d.dialFunc(V5)}, on(func(e Unanswered) { events = append(events, e.For) }), set)
		if err := s.Run(t.Context()); err != nil || fmt.Sprint(events) != "[5s 6s]" {
			t.Errorf("error %v, events %v", err, events)
		}
	})
}
