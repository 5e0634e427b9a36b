package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/wait"
)

// runConnections sets d.dial and runs a session with the driver d. On each
// connection, the server calls the next element of behaviors, and the last one
// again when there are no more. An element that is nil means that the server
// cannot be reached. runConnections returns the delays between the attempts,
// and the outcome.
func runConnections(
	t *testing.T, d *testDriver, set Settings, behaviors ...func(serverConn),
) (delays []time.Duration, err error) {
	t.Helper()
	attempt := 0
	next := make(chan func(serverConn), 1)
	dialer := serveExec(t, func(r serverConn) { (<-next)(r) })
	d.dial = func(ctx context.Context) (*Conn, error) {
		behave := behaviors[min(attempt, len(behaviors)-1)]
		if attempt++; behave == nil {
			return nil, &DialError{Server: "s", Err: errors.New("refused")}
		}
		next <- behave
		return dialer.dialFunc(V5)(ctx)
	}
	set.Reconnect = ReconnectAlways
	set.Backoff = wait.Backoff{Duration: time.Second, Factor: 2, Steps: 9, Cap: time.Minute}
	err = NewSession(d, on(func(e Waiting) { delays = append(delays, e.Delay) }), set).Run(t.Context())
	return delays, err
}

// Behaviors of a server.
var (
	drop        = func(serverConn) {}
	printStdout = func(r serverConn) { r.send(chStdout, "x") }
	printStderr = func(r serverConn) { r.send(chStderr, "x") }
	sendEmpty   = func(r serverConn) { r.send(chStdout, "") } // every server sends an empty message first
	sendUnknown = func(r serverConn) { r.send(chResize, "x") }
	stayOpen    = func(serverConn) { time.Sleep(livedAfter) }
	closeEarly  = func(serverConn) { time.Sleep(livedAfter - time.Millisecond) }
	keepSilent  = func(r serverConn) { r.receive() }
	succeed     = func(r serverConn) { r.closeWithStatus(success) }
)

func TestBackoff_RestartsAfterConnectionThatWorked(t *testing.T) {
	for name, c := range map[string]struct {
		behaviors []func(serverConn)
		want      string
	}{
		"only opened": {
			[]func(serverConn){drop, nil, drop, sendEmpty, nil, drop, succeed}, "[1s 2s 4s 8s 16s 32s]",
		},
		"stdout":           {[]func(serverConn){drop, nil, printStdout, nil, nil, succeed}, "[1s 2s 1s 2s 4s]"},
		"stderr":           {[]func(serverConn){drop, nil, printStderr, nil, nil, succeed}, "[1s 2s 1s 2s 4s]"},
		"unknown messages": {[]func(serverConn){drop, nil, sendUnknown, succeed}, "[1s 2s 4s]"},
		"long open":        {[]func(serverConn){drop, nil, stayOpen, nil, succeed}, "[1s 2s 1s 2s]"},
		"not long enough":  {[]func(serverConn){drop, nil, closeEarly, nil, succeed}, "[1s 2s 4s 8s]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				delays, err := runConnections(t, &testDriver{}, Settings{}, c.behaviors...)
				if got := fmt.Sprint(delays); got != c.want || err != nil {
					t.Errorf("delays %s, want %s; error %v", got, c.want, err)
				}
			})
		})
	}
}

// An API server that translates WebSocket to SPDY opens connections even if the
// node is dead. Such a connection does not count as one that worked, although
// it is open for longer than livedAfter.
func TestBackoff_GrowsWhileNodeIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := Settings{LinkSettings: LinkSettings{Eager: true}, Proof: 20 * time.Second}
		delays, err := runConnections(t, &testDriver{}, set, printStdout, keepSilent, keepSilent, keepSilent,
			func(r serverConn) {
				r.send(chStdout, "$ ")
				r.closeWithStatus(success)
			})
		if got, want := fmt.Sprint(delays), "[1s 2s 4s 8s]"; got != want || err != nil {
			t.Errorf("delays %s, want %s; error %v", got, want, err)
		}
	})
}

// The duration of Driver.Ended does not count as time for which the connection
// was open.
func TestBackoff_SlowEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testDriver{ended: func(_ context.Context, err error) error { time.Sleep(time.Minute); return err }}
		set := Settings{LinkSettings: LinkSettings{Eager: true}}
		delays, err := runConnections(t, d, set, drop, drop, drop, succeed)
		if got, want := fmt.Sprint(delays), "[1s 2s 4s]"; got != want || err != nil {
			t.Errorf("delays %s, want %s; error %v", got, want, err)
		}
	})
}

func TestGiveUpAfter_EndsInTime(t *testing.T) {
	for name, c := range map[string]struct {
		proof     time.Duration
		behaviors []func(serverConn)
	}{
		"accepted and dropped":               {0, []func(serverConn){drop}},
		"accepted and dropped, after output": {0, []func(serverConn){printStdout, drop}},
		"silent":                             {20 * time.Second, []func(serverConn){printStdout, keepSilent}},
		"unreachable":                        {0, []func(serverConn){printStdout, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const limit = 100 * time.Second
				set := Settings{LinkSettings: LinkSettings{GiveUpAfter: limit}, Proof: c.proof}
				start := time.Now()
				_, err := runConnections(t, &testDriver{}, set, c.behaviors...)
				if took := time.Since(start); !IsFailure(err) || took > limit || took < limit/2 {
					t.Errorf("error %v after %v, want a failure within %v", err, took, limit)
				}
			})
		})
	}
}

// The time limit starts again at the loss of a connection that has worked.
func TestGiveUpAfter_RestartsAfterConnectionThatWorked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := Settings{LinkSettings: LinkSettings{GiveUpAfter: 10 * time.Second}}
		start := time.Now()
		_, err := runConnections(t, &testDriver{}, set,
			drop, nil, nil, printStdout, nil, nil, stayOpen, nil, nil, succeed)
		if err != nil || time.Since(start) < set.GiveUpAfter {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

// GiveUpAfter ends an attempt that the server does not answer. Run returns the
// last failure before that attempt.
func TestGiveUpAfter_CutsAttemptShort(t *testing.T) {
	for name, wrap := range map[string]func(error) error{
		"cause":   func(err error) error { return err },
		"wrapped": func(error) error { return &NotReadyError{Err: context.DeadlineExceeded} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := serveExec(t, printStdout)
				first := true
				var failures []error
				driver := &testDriver{dial: func(ctx context.Context) (*Conn, error) {
					if first {
						first = false
						return d.dialFunc(V5)(ctx)
					}
					<-ctx.Done()
					return nil, wrap(context.Cause(ctx))
				}}
				set := Settings{LinkSettings: LinkSettings{Reconnect: ReconnectAlways, GiveUpAfter: 10 * time.Second}}
				s := NewSession(driver, on(func(e Failed) { failures = append(failures, e.Err) }), set)
				start := time.Now()
				err := s.Run(t.Context())
				var lost *LostError
				if took := time.Since(start); !errors.As(err, &lost) || took != set.GiveUpAfter || len(failures) != 1 {
					t.Errorf("error %v after %v, failures %v", err, took, failures)
				}
			})
		})
	}
}

func TestGiveUpAfter_ContextEndsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, printStdout)
		first := true
		dial := func(ctx context.Context) (*Conn, error) {
			if first {
				first = false
				return d.dialFunc(V5)(ctx)
			}
			<-ctx.Done()
			time.Sleep(time.Minute) // meanwhile, the time limit of GiveUpAfter ends as well
			return nil, context.Cause(ctx)
		}
		s := newTestSession(dial, Settings{LinkSettings: LinkSettings{GiveUpAfter: 10 * time.Second}})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
	})
}

func TestGiveUpAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var down atomic.Bool
		d := serveExec(t, func(serverConn) { down.Store(true) })
		dial := func(ctx context.Context) (*Conn, error) {
			if down.Load() {
				return nil, &DialError{Err: io.EOF}
			}
			return d.dialFunc(V5)(ctx)
		}
		s := newTestSession(dial, Settings{LinkSettings: LinkSettings{GiveUpAfter: 10 * time.Minute}})
		err := s.Run(t.Context())
		var unreachable *DialError
		if took := time.Since(start); !errors.As(err, &unreachable) || took < 9*time.Minute || took > 10*time.Minute {
			t.Errorf("error %v after %v", err, took)
		}
	})
}

func TestEager_DelayOnlyAfterShortConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := Settings{LinkSettings: LinkSettings{Eager: true}}
		delays, err := runConnections(t, &testDriver{}, set, stayOpen, closeEarly, stayOpen, succeed)
		if got, want := fmt.Sprint(delays), "[1s]"; got != want || err != nil {
			t.Errorf("delays %s, want %s; error %v", got, want, err)
		}
	})
}

func TestEager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var opened []time.Duration
		open := []time.Duration{10 * time.Second, 0, 0}
		var connections atomic.Int32
		d := serveExec(t, func(r serverConn) {
			n := int(connections.Add(1)) - 1
			if n == len(open) {
				r.closeWithStatus(success)
				return
			}
			time.Sleep(open[n])
		})
		driver := &testDriver{dial: d.dialFunc(V5), opened: func(*Conn) error {
			opened = append(opened, time.Since(start).Round(time.Second))
			return nil
		}}
		s := NewSession(driver, nil, Settings{LinkSettings: LinkSettings{Eager: true}})
		if err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		// No delay follows the first connection, because it was open for 10 s.
		want := []time.Duration{0, 10 * time.Second, 13 * time.Second, 16 * time.Second}
		if diff := cmp.Diff(want, opened); diff != "" {
			t.Errorf("connections (-want +got):\n%s", diff)
		}
	})
}

func TestSession_Again(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var connections atomic.Int32
		d := serveExec(t, func(r serverConn) {
			if connections.Add(1) == 1 {
				<-t.Context().Done()
			}
			r.closeWithStatus(success)
		})
		s := newTestSession(d.dialFunc(V5), Settings{})
		time.AfterFunc(time.Minute, s.Again)
		if err := s.Run(t.Context()); err != nil || time.Since(start) != time.Minute {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

// Again, or Enter, ends only the current wait. It does not shorten a later one.
func TestWait_NotShortenedByEarlierRequest(t *testing.T) {
	for name, request := range map[string]func(s *Session, k keyboard, connections int){
		"Again on a connection": func(s *Session, _ keyboard, connections int) {
			if connections == 1 {
				s.Again()
			}
		},
		"Again during an attempt": func(s *Session, _ keyboard, connections int) {
			if connections == 0 {
				s.Again()
			}
		},
		"Enter during an attempt": func(_ *Session, k keyboard, connections int) {
			if connections == 0 {
				k.press("\r")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := serveExec(t, keepSilent)
				k := newKeyboard()
				var s *Session
				attempt := 0
				dial := func(ctx context.Context) (*Conn, error) {
					attempt++
					time.Sleep(time.Second)
					if attempt > 1 {
						request(s, k, 0)
						time.Sleep(time.Second)
						return nil, &DialError{Server: "s", Err: errors.New("refused")}
					}
					return d.dialFunc(V5)(ctx)
				}
				driver := &testDriver{dial: dial, opened: func(*Conn) error {
					time.AfterFunc(livedAfter, func() { request(s, k, 1); s.Drop(io.EOF) })
					return nil
				}}
				var waiting time.Time
				ctx, cancel := context.WithCancel(t.Context())
				observe := func(e Event) {
					switch e.(type) {
					case Waiting:
						waiting = time.Now()
					case Connecting:
						if waiting.IsZero() {
							return
						}
						if waited := time.Since(waiting); waited != RetryDelay {
							t.Errorf("waited %v, want %v", waited, RetryDelay)
						}
						cancel()
					}
				}
				link := alwaysReconnect
				link.Eager = true
				s = NewSession(driver, observe, Settings{LinkSettings: link, Stdin: k, Interactive: true})
				if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("ended by %v", err)
				}
				synctest.Wait()
			})
		})
	}
}

// Again replaces an open connection without a wait, even if the connection was
// open for less than livedAfter, or if Driver.Ended is running.
func TestAgain_NewConnectionWithoutWait(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration // after the connection was opened
		lost  time.Duration // when the connection is lost; 0: never
		want  time.Duration
	}{
		"young connection":    {time.Second, 0, time.Second},
		"during Driver.Ended": {2 * time.Second, time.Second, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var connections atomic.Int32
				d := serveExec(t, func(r serverConn) {
					if connections.Add(1) > 1 {
						r.closeWithStatus(success)
						return
					}
					r.receive()
				})
				var s *Session
				opened := 0
				driver := &testDriver{dial: d.dialFunc(V5)}
				driver.opened = func(*Conn) error {
					if opened++; opened == 1 {
						time.AfterFunc(c.after, s.Again)
						if c.lost > 0 {
							time.AfterFunc(c.lost, func() { s.Drop(io.EOF) })
						}
					}
					return nil
				}
				driver.ended = func(_ context.Context, err error) error {
					if err != nil && c.lost > 0 {
						time.Sleep(3 * time.Second)
					}
					return err
				}
				s = NewSession(driver, nil, Settings{LinkSettings: alwaysReconnect})
				start := time.Now()
				if err := s.Run(t.Context()); err != nil || time.Since(start) != c.want {
					t.Errorf("error %v after %v, want %v", err, time.Since(start), c.want)
				}
			})
		})
	}
}
