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
)

// runPinging runs a session with a Keepalive of 10 s and returns the durations
// of its Overdue events.
func runPinging(
	t *testing.T, stdin io.Reader, stdout io.Writer, behave func(r serverConn),
) (overdue []time.Duration, took time.Duration, err error) {
	s, reports := pingingSession(serveExec(t, behave), Settings{Stdin: stdin, Stdout: stdout})
	start := time.Now()
	err = s.Run(t.Context())
	return *reports, time.Since(start), err
}

// readsNothing returns the behavior of a server that reads nothing, and so
// answers no pings, until the test ends.
func readsNothing(t *testing.T) func(serverConn) {
	return func(serverConn) { <-t.Context().Done() }
}

func TestKeepalive_DeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		overdue, took, err := runPinging(t, nil, nil, readsNothing(t))
		var lost *LostError
		if !errors.As(err, &lost) || !errors.Is(err, errDead) {
			t.Errorf("error %v", err)
		}
		if took < deadAfter || took > 25*time.Second {
			t.Errorf("detected after %v", took)
		}
		if len(overdue) < 5 || overdue[0] < quietAfter || overdue[0] > quietAfter+2*checkEvery {
			t.Errorf("overdue %v", overdue)
		}
	})
}

// A link is dead after 20 s of silence, or after Keepalive and 8 s if that is
// later: the ping is sent 2 s before Keepalive has passed, and may be
// unanswered for 10 s.
func TestKeepalive_DeadAfterSilence(t *testing.T) {
	for _, keepalive := range []time.Duration{
		time.Second, 10 * time.Second, 12 * time.Second, 20 * time.Second, time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			d := serveExec(t, readsNothing(t))
			s := newTestSession(d.dialFunc(V5), Settings{LinkSettings: noReconnect, Keepalive: keepalive})
			start := time.Now()
			err := s.Run(t.Context())
			want := max(20*time.Second, keepalive+8*time.Second)
			if took := time.Since(start); !errors.Is(err, errDead) || took < want || took > want+3*checkEvery {
				t.Errorf("keepalive %v: error %v after %v, want %v", keepalive, err, took, want)
			}
		})
	}
}

// answersPings returns the behavior of a server that reads, and so answers
// pings, until the client disconnects. When during has returned, the server
// reports success.
func answersPings(during func(r serverConn)) func(serverConn) {
	return func(r serverConn) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.readAll()
		}()
		during(r)
		r.send(chError, success)
		<-done
	}
}

func TestKeepalive_SilentCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		overdue, _, err := runPinging(t, nil, nil, answersPings(func(serverConn) { time.Sleep(time.Hour) }))
		if err != nil || len(overdue) > 0 {
			t.Errorf("error %v, overdue %v", err, overdue)
		}
	})
}

func TestKeepalive_ServerAnswersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		overdue, _, err := runPinging(t, nil, nil, func(r serverConn) {
			time.Sleep(18 * time.Second)
			answersPings(func(serverConn) { time.Sleep(time.Minute) })(r)
		})
		if err != nil || len(overdue) == 0 || overdue[len(overdue)-1] != 0 {
			t.Errorf("error %v, overdue %v, want 0 at the end", err, overdue)
		}
	})
}

// The time between two pings is shorter than the Keepalive (or than 2 s, if the
// Keepalive is shorter), so that a load balancer with the same idle timeout
// does not drop the connection.
func TestKeepalive_LongestSilence(t *testing.T) {
	for _, keepalive := range []time.Duration{time.Second, 3 * time.Second, 10 * time.Second, time.Minute} {
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
				answersPings(func(serverConn) { time.Sleep(10 * time.Minute) })(serverConn{ws, t})
			})
			s := newTestSession(d.dialFunc(V5), Settings{LinkSettings: noReconnect, Keepalive: keepalive})
			if err := s.Run(t.Context()); err != nil {
				t.Error(err)
			}
			if got := time.Duration(longest.Load()); got == 0 || got >= max(keepalive, 2*time.Second) {
				t.Errorf("keepalive %v: the longest time without a ping was %v", keepalive, got)
			}
		})
	}
}

func TestKeepalive_OutputCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		overdue, _, err := runPinging(t, nil, nil, func(r serverConn) { // the server does not read, so it answers no pings
			for range 100 {
				time.Sleep(4 * time.Second)
				r.send(chStdout, "x")
			}
			r.closeWithStatus(success)
		})
		if err != nil || len(overdue) > 0 {
			t.Errorf("error %v, overdue %v", err, overdue)
		}
	})
}

func TestKeepalive_ServerBlockedByStdin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, err := runPinging(t, &pausingStdin{size: 64 << 10}, nil, func(r serverConn) {
			time.Sleep(90 * time.Second)
			answersPings(func(serverConn) { time.Sleep(time.Second) })(r)
		})
		if err != nil {
			t.Errorf("error %v", err)
		}
	})
}

// A link that dies between a ping and its answer is detected, even if output
// arrived after the ping.
func TestKeepalive_DeadAfterLateOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		d := serveExec(t, func(r serverConn) {
			time.Sleep(8500 * time.Millisecond) // the client has sent a ping at 8 s
			r.send(chStdout, "x")
			<-t.Context().Done()
		})
		s, _ := pingingSession(d, Settings{})
		if err := s.Run(ctx); !errors.Is(err, errDead) {
			t.Errorf("error %v", err)
		}
	})
}

// pausingStdin is a stdin of size bytes. Its end is reported 10 minutes after
// the last byte was read.
type pausingStdin struct{ size int }

func (s *pausingStdin) Read(p []byte) (int, error) {
	n := min(len(p), s.size)
	s.size -= n
	if n == 0 {
		time.Sleep(10 * time.Minute)
		return 0, io.EOF
	}
	return n, nil
}

// While Stdout blocks, nothing is read from the connection, so the answer to a
// ping is not noticed. The connection must not count as lost.
func TestKeepalive_StdoutBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, err := runPinging(t, nil, slowWriter{}, func(r serverConn) {
			r.send(chStdout, "x")
			answersPings(func(serverConn) { time.Sleep(2 * time.Minute) })(r)
		})
		if err != nil {
			t.Errorf("error %v", err)
		}
	})
}
