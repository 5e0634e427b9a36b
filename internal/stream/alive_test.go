package stream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// runWithKeepalive runs a session with a Keepalive of 10 s to a server with the
// behavior behave. It returns the Overdue events, and how long Run took.
func runWithKeepalive(
	t *testing.T, stdin io.Reader, stdout io.Writer, behave func(r remote),
) (overdue []time.Duration, took time.Duration, err error) {
	d := pod(t, behave)
	s := &funcSession{
		funcLink: funcLink{Dial: d.with(V5), Reconnect: ReconnectNever},
		Stdin:    stdin, Stdout: stdout, Keepalive: 10 * time.Second,
		OnOverdue: func(d time.Duration) { overdue = append(overdue, d) },
	}
	start := time.Now()
	err = s.Run(t.Context())
	return overdue, time.Since(start), err
}

// deaf is a server that reads nothing until the test ends, and so answers no
// ping.
func deaf(t *testing.T) func(remote) {
	return func(remote) { <-t.Context().Done() }
}

func TestKeepalive_DeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		overdue, took, err := runWithKeepalive(t, nil, nil, deaf(t))
		var lost *LostError
		if !errors.As(err, &lost) || !errors.Is(err, errDead) {
			t.Errorf("error %v", err)
		}
		if took < deadAfter || took > 25*time.Second {
			t.Errorf("lost after %v", took)
		}
		if len(overdue) < 5 || overdue[0] < quietAfter || overdue[0] > quietAfter+2*checkEvery {
			t.Errorf("overdue %v", overdue)
		}
	})
}

// ponging is a server that calls during while it reads, and so answers pings.
// Then the command succeeds.
func ponging(during func(r remote)) func(remote) {
	return func(r remote) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for open := true; open; {
				_, _, open = r.receive()
			}
		}()
		during(r)
		r.send(chError, success)
		<-done
	}
}

func TestKeepalive_SilentCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		overdue, _, err := runWithKeepalive(t, nil, nil, ponging(func(remote) { time.Sleep(time.Hour) }))
		if err != nil || len(overdue) > 0 {
			t.Errorf("error %v, overdue %v", err, overdue)
		}
	})
}

func TestKeepalive_ServerAnswersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		overdue, _, err := runWithKeepalive(t, nil, nil, func(r remote) {
			time.Sleep(18 * time.Second)
			ponging(func(remote) { time.Sleep(time.Minute) })(r)
		})
		if err != nil || len(overdue) == 0 || overdue[len(overdue)-1] != 0 {
			t.Errorf("error %v, overdue %v, want a last one of 0", err, overdue)
		}
	})
}

// A gateway that drops connections which are idle for as long as Keepalive does
// not drop this one.
func TestKeepalive_LongestSilence(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 3 * time.Second, 10 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			last := time.Now()
			var longest atomic.Int64
			d := serve(t, func(w http.ResponseWriter, req *http.Request) {
				ws, err := websocket.Accept(w, req, &websocket.AcceptOptions{
					Subprotocols: Protocols(), InsecureSkipVerify: true,
					OnPingReceived: func(context.Context, []byte) bool {
						longest.Store(max(longest.Load(), int64(time.Since(last))))
						last = time.Now()
						return true
					},
				})
				if err != nil {
					t.Error(err)
					return
				}
				ponging(func(remote) { time.Sleep(10 * time.Minute) })(remote{ws, t})
			})
			s := &funcSession{funcLink: funcLink{Dial: d.with(V5), Reconnect: ReconnectNever}, Keepalive: every}
			if err := s.Run(t.Context()); err != nil {
				t.Error(err)
			}
			if got := time.Duration(longest.Load()); got == 0 || got >= max(every, 2*time.Second) {
				t.Errorf("pings every %v: the longest silence was %v", every, got)
			}
		})
	}
}

func TestKeepalive_OutputCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		overdue, _, err := runWithKeepalive(t, nil, nil, func(r remote) { // the server does not read
			for range 100 {
				time.Sleep(4 * time.Second)
				r.send(chStdout, "x")
			}
			r.finish(success)
		})
		if err != nil || len(overdue) > 0 {
			t.Errorf("error %v, overdue %v", err, overdue)
		}
	})
}

func TestKeepalive_ServerBlockedByStdin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, err := runWithKeepalive(t, &typing{size: 64 << 10}, nil, func(r remote) {
			time.Sleep(90 * time.Second)
			ponging(func(remote) { time.Sleep(time.Second) })(r)
		})
		if err != nil {
			t.Errorf("error %v", err)
		}
	})
}

// A connection that dies between a ping and its answer is detected, although
// some output has arrived after the ping.
func TestKeepalive_DeadAfterLateOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := &funcSession{
			funcLink: funcLink{Reconnect: ReconnectNever, Dial: pod(t, func(r remote) {
				time.Sleep(8500 * time.Millisecond) // a ping arrived at 8 s
				r.send(chStdout, "x")
				<-t.Context().Done()
			}).with(V5)},
			Keepalive: 10 * time.Second,
		}
		if err := s.Run(ctx); !errors.Is(err, errDead) {
			t.Errorf("error %v", err)
		}
	})
}

// typing is a stdin of size bytes, which ends after another 10 minutes.
type typing struct{ size int }

func (s *typing) Read(p []byte) (int, error) {
	n := min(len(p), s.size)
	s.size -= n
	if n == 0 {
		time.Sleep(10 * time.Minute)
		return 0, io.EOF
	}
	return n, nil
}

func TestKeepalive_PausedReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, err := runWithKeepalive(t, nil, pausing{}, func(r remote) {
			r.send(chStdout, "x") // the reader is paused for 90 s, and sees no pong before that
			ponging(func(remote) { time.Sleep(2 * time.Minute) })(r)
		})
		if err != nil {
			t.Errorf("error %v", err)
		}
	})
}

func TestEager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var opened []time.Duration
		lives := []time.Duration{10 * time.Second, 0, 0}
		var sockets atomic.Int32
		d := pod(t, func(r remote) {
			n := int(sockets.Add(1)) - 1
			if n == len(lives) {
				r.finish(success)
				return
			}
			time.Sleep(lives[n])
		})
		s := &funcSession{funcLink: funcLink{
			Dial: d.with(V5), Reconnect: ReconnectAlways, Eager: true,
			OnOpen: func(*Conn) error {
				opened = append(opened, time.Since(start).Round(time.Second))
				return nil
			},
		}}
		if err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		// There is no delay only after a connection that was open for 5 s.
		want := []time.Duration{0, 10 * time.Second, 13 * time.Second, 16 * time.Second}
		if diff := cmp.Diff(want, opened); diff != "" {
			t.Errorf("sockets (-want +got):\n%s", diff)
		}
	})
}

func TestGiveUpAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var down atomic.Bool
		d := pod(t, func(remote) { down.Store(true) })
		dial := d.with(V5)
		s := &funcSession{funcLink: funcLink{
			Dial: func(ctx context.Context) (*Conn, error) {
				if down.Load() {
					return nil, &DialError{Err: io.EOF}
				}
				return dial(ctx)
			},
			Reconnect: ReconnectAlways, GiveUpAfter: 10 * time.Minute,
		}}
		err := s.Run(t.Context())
		var unreachable *DialError
		if took := time.Since(start); !errors.As(err, &unreachable) || took < 9*time.Minute || took > 10*time.Minute {
			t.Errorf("error %v after %v", err, took)
		}
	})
}

func TestSession_Again(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var n atomic.Int32
		d := pod(t, func(r remote) {
			if n.Add(1) == 1 {
				<-t.Context().Done()
			}
			r.finish(success)
		})
		s := &funcSession{funcLink: funcLink{Dial: d.with(V5), Reconnect: ReconnectAlways}}
		time.AfterFunc(time.Minute, s.Again)
		if err := s.Run(t.Context()); err != nil || time.Since(start) != time.Minute {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}
