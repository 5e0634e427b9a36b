package stream

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// reconnecting runs a session. Each of its sockets behaves like the next
// element of sockets, and the last element is repeated; nil is a server that
// cannot be reached. reconnecting returns the delays between the attempts, and
// the outcome.
func reconnecting(t *testing.T, s *funcSession, sockets ...func(remote)) (delays []time.Duration, err error) {
	t.Helper()
	attempt := 0
	next := make(chan func(remote), 1)
	d := pod(t, func(r remote) { (<-next)(r) })
	s.Dial = func(ctx context.Context) (*Conn, error) {
		behave := sockets[min(attempt, len(sockets)-1)]
		if attempt++; behave == nil {
			return nil, &DialError{Server: "s", Err: errors.New("refused")}
		}
		next <- behave
		return d.with(V5)(ctx)
	}
	s.Reconnect = ReconnectAlways
	s.OnWait = func(d time.Duration) { delays = append(delays, d) }
	s.Backoff = wait.Backoff{Duration: time.Second, Factor: 2, Steps: 9, Cap: time.Minute}
	err = s.Run(t.Context())
	return delays, err
}

// Behaviors of a socket.
var (
	drops   = func(remote) {}
	prints  = func(r remote) { r.send(chStdout, "x") }
	greets  = func(r remote) { r.send(chStdout, "") } // as every server does
	errs    = func(r remote) { r.send(chStderr, "x") }
	unknown = func(r remote) { r.send(chResize, "x") }
	lives   = func(remote) { time.Sleep(livedAfter) }
	dies    = func(remote) { time.Sleep(livedAfter - time.Millisecond) }
	finally = func(r remote) { r.finish(success) }
)

func TestBackoff_RestartsAfterSocketThatWorked(t *testing.T) {
	for name, c := range map[string]struct {
		sockets []func(remote)
		want    string
	}{
		"sockets that only open": {
			[]func(remote){drops, nil, drops, greets, nil, drops, finally}, "[1s 2s 4s 8s 16s 32s]",
		},
		"one that printed":           {[]func(remote){drops, nil, prints, nil, nil, finally}, "[1s 2s 1s 2s 4s]"},
		"one that printed on stderr": {[]func(remote){drops, nil, errs, nil, nil, finally}, "[1s 2s 1s 2s 4s]"},
		"one with unknown messages":  {[]func(remote){drops, nil, unknown, finally}, "[1s 2s 4s]"},
		"one that lived":             {[]func(remote){drops, nil, lives, nil, finally}, "[1s 2s 1s 2s]"},
		"one that lived too short":   {[]func(remote){drops, nil, dies, nil, finally}, "[1s 2s 4s 8s]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				delays, err := reconnecting(t, &funcSession{}, c.sockets...)
				if got := fmt.Sprint(delays); got != c.want || err != nil {
					t.Errorf("delays %s, want %s; error %v", got, c.want, err)
				}
			})
		})
	}
}

// An API server that translates the protocol opens sockets even if the node is
// dead. They bring nothing for longer than livedAfter.
func TestBackoff_GrowsWhileNodeIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := func(r remote) { r.receive() }
		s := &funcSession{Proof: 20 * time.Second}
		s.Eager = true
		delays, err := reconnecting(t, s, prints, silent, silent, silent, func(r remote) {
			r.send(chStdout, "$ ")
			r.finish(success)
		})
		if got, want := fmt.Sprint(delays), "[1s 2s 4s 8s]"; got != want || err != nil {
			t.Errorf("delays %s, want %s; error %v", got, want, err)
		}
	})
}

// The duration of Ended does not count as time for which the socket was open.
func TestBackoff_SlowEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &funcSession{OnEnded: func(_ context.Context, err error) error { time.Sleep(time.Minute); return err }}
		s.Eager = true
		delays, err := reconnecting(t, s, drops, drops, drops, finally)
		if got, want := fmt.Sprint(delays), "[1s 2s 4s]"; got != want || err != nil {
			t.Errorf("delays %s, want %s; error %v", got, want, err)
		}
	})
}

func TestGiveUp_EndsInTime(t *testing.T) {
	silent := func(r remote) { r.receive() }
	for name, c := range map[string]struct {
		proof   time.Duration
		sockets []func(remote)
	}{
		"accepted and dropped":              {0, []func(remote){drops}},
		"accepted and dropped, after a use": {0, []func(remote){prints, drops}},
		"silent":                            {20 * time.Second, []func(remote){prints, silent}},
		"not reached":                       {0, []func(remote){prints, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const limit = 100 * time.Second
				s := &funcSession{Proof: c.proof}
				s.GiveUpAfter = limit
				start := time.Now()
				_, err := reconnecting(t, s, c.sockets...)
				if took := time.Since(start); !failed(err) || took > limit || took < limit/2 {
					t.Errorf("error %v after %v, want a failure within %v", err, took, limit)
				}
			})
		})
	}
}

// The time limit starts again at the loss of a socket that has worked.
func TestGiveUp_RestartsAfterSocketThatWorked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &funcSession{}
		s.GiveUpAfter = 10 * time.Second
		start := time.Now()
		_, err := reconnecting(t, s, drops, nil, nil, prints, nil, nil, lives, nil, nil, finally)
		if err != nil || time.Since(start) < s.GiveUpAfter {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

// GiveUpAfter ends an attempt that is not answered. Run returns the failure
// before it.
func TestGiveUp_CutsAttemptShort(t *testing.T) {
	for name, wrap := range map[string]func(error) error{
		"cause":   func(err error) error { return err },
		"wrapped": func(error) error { return &NotReadyError{Err: context.DeadlineExceeded} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := pod(t, prints)
				first := true
				var failures []error
				s := &funcSession{funcLink: funcLink{
					Dial: func(ctx context.Context) (*Conn, error) {
						if first {
							first = false
							return d.with(V5)(ctx)
						}
						<-ctx.Done()
						return nil, wrap(context.Cause(ctx))
					},
					OnFail:    func(err error) { failures = append(failures, err) },
					Reconnect: ReconnectAlways, GiveUpAfter: 10 * time.Second,
				}}
				start := time.Now()
				err := s.Run(t.Context())
				var lost *LostError
				if took := time.Since(start); !errors.As(err, &lost) || took != s.GiveUpAfter || len(failures) != 1 {
					t.Errorf("error %v after %v, failures %v", err, took, failures)
				}
			})
		})
	}
}

func TestGiveUp_ContextEndsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, prints)
		first := true
		s := &funcSession{funcLink: funcLink{
			Dial: func(ctx context.Context) (*Conn, error) {
				if first {
					first = false
					return d.with(V5)(ctx)
				}
				<-ctx.Done()
				time.Sleep(time.Minute) // GiveUpAfter is over, too
				return nil, context.Cause(ctx)
			},
			Reconnect: ReconnectAlways, GiveUpAfter: 10 * time.Second,
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
	})
}

func TestEager_AtOnceAfterSocketThatLived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &funcSession{}
		s.Eager = true
		delays, err := reconnecting(t, s, lives, dies, lives, finally)
		if got, want := fmt.Sprint(delays), "[1s]"; got != want || err != nil {
			t.Errorf("delays %s, want %s; error %v", got, want, err)
		}
	})
}
