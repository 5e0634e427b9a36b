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

// watched is a session that pings every 10 s and lists what it is told of quiet; the far side is behave's.
func watched(t *testing.T, stdin io.Reader, stdout io.Writer, behave func(r remote)) (told []time.Duration, took time.Duration, err error) {
	d := pod(t, behave)
	s := &funcSession{
		funcLink: funcLink{Dial: d.with(V5), Reconnect: ReconnectNever},
		Stdin:    stdin, Stdout: stdout, Keepalive: 10 * time.Second,
		OnQuiet: func(d time.Duration) { told = append(told, d) },
	}
	start := time.Now()
	err = s.Run(t.Context())
	return told, time.Since(start), err
}

// deaf is a far side that reads nothing, and so answers no ping, until the test ends.
func deaf(t *testing.T) func(remote) {
	return func(remote) { <-t.Context().Done() }
}

func TestADeadLinkIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, took, err := watched(t, nil, nil, deaf(t))
		var lost *LostError
		if !errors.As(err, &lost) || !errors.Is(err, errDead) {
			t.Errorf("error %v", err)
		}
		if took < deadAfter || took > 25*time.Second {
			t.Errorf("noticed after %v", took)
		}
		if len(told) < 5 || told[0] < quietAfter || told[0] > quietAfter+2*checkEvery {
			t.Errorf("told of %v", told)
		}
	})
}

// ponging reads, and so answers pings, while it does something else; then the command succeeds.
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

func TestASilentCommandIsNotADeadLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, _, err := watched(t, nil, nil, ponging(func(remote) { time.Sleep(time.Hour) }))
		if err != nil || len(told) > 0 {
			t.Errorf("error %v, told of %v", err, told)
		}
	})
}

func TestALinkThatComesBackInTimeIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, _, err := watched(t, nil, nil, func(r remote) {
			time.Sleep(18 * time.Second)
			ponging(func(remote) { time.Sleep(time.Minute) })(r)
		})
		if err != nil || len(told) == 0 || told[len(told)-1] != 0 {
			t.Errorf("error %v, told of %v, want the end of it as well", err, told)
		}
	})
}

// What drops a link that is idle for as long as the user has said does not get to it.
func TestNoSilenceLastsAsLongAsTheKeepalive(t *testing.T) {
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

func TestOutputIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, _, err := watched(t, nil, nil, func(r remote) { // it does not read
			for range 100 {
				time.Sleep(4 * time.Second)
				r.send(chStdout, "x")
			}
			r.finish(success)
		})
		if err != nil || len(told) > 0 {
			t.Errorf("error %v, told of %v", err, told)
		}
	})
}

func TestAServerThatIsBlockedByItsCommandIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, err := watched(t, &typing{size: 64 << 10}, nil, func(r remote) {
			time.Sleep(90 * time.Second)
			ponging(func(remote) { time.Sleep(time.Second) })(r)
		})
		if err != nil {
			t.Errorf("error %v", err)
		}
	})
}

// A link that dies between a ping and its answer, behind some output, is dead all the same.
func TestADeadLinkIsNoticedBehindALatePieceOfOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := &funcSession{
			funcLink: funcLink{Reconnect: ReconnectNever, Dial: pod(t, func(r remote) {
				time.Sleep(8500 * time.Millisecond) // a ping came at 8 s
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

// typing gives size bytes, and then nothing until the end of all tests' patience.
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

func TestAPausedReaderIsNotADeadLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, err := watched(t, nil, pausing{}, func(r remote) {
			r.send(chStdout, "x") // 90 s until the reader listens again, and only then a pong can be seen
			ponging(func(remote) { time.Sleep(2 * time.Minute) })(r)
		})
		if err != nil {
			t.Errorf("error %v", err)
		}
	})
}

func TestALostSessionIsTakenUpAtOnceIfItWasOne(t *testing.T) {
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
		want := []time.Duration{0, 10 * time.Second, 13 * time.Second, 16 * time.Second} // at once only behind one that lived
		if diff := cmp.Diff(want, opened); diff != "" {
			t.Errorf("sockets (-want +got):\n%s", diff)
		}
	})
}

func TestAttemptsEnd(t *testing.T) {
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

func TestASocketIsReplacedWhenTheUserSaysSo(t *testing.T) {
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
