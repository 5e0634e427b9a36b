package stream

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// checkTimes runs a session that sends n bytes of stdin to a server with the
// behavior behave. It returns the seconds after the start at which CheckStuck
// was called, up to while.
func checkTimes(t *testing.T, n int, while time.Duration, stdout writerFunc, behave func(r remote)) (seconds []int) {
	t.Helper()
	start := time.Now()
	s := &funcSession{
		funcLink: funcLink{Dial: pod(t, behave).with(V5), Reconnect: ReconnectNever},
		Stdin:    bytes.NewReader(make([]byte, n)),
		OnStuck: func(context.Context) error {
			seconds = append(seconds, int(time.Since(start)/time.Second))
			return nil
		},
	}
	if stdout != nil {
		s.Stdout = stdout
	}
	ctx, cancel := context.WithTimeout(t.Context(), while)
	defer cancel()
	if err := s.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	return seconds
}

// reading reads until the client disconnects, which also answers pings.
func reading(r remote) {
	for open := true; open; {
		_, _, open = r.receive()
	}
}

func TestCheckStuck_Times(t *testing.T) {
	says := func(at ...time.Duration) func(remote) {
		return func(r remote) {
			for _, d := range at {
				time.Sleep(d)
				r.send(chStdout, "x")
			}
		}
	}
	answers := func(during func(remote)) func(remote) {
		return func(r remote) {
			var talking sync.WaitGroup
			talking.Go(func() { during(r) })
			reading(r)
			talking.Wait()
		}
	}
	deafAnd := func(during func(remote)) func(remote) {
		return func(r remote) {
			during(r)
			<-r.t.Context().Done()
		}
	}
	nothing := func(remote) {}
	for name, c := range map[string]struct {
		size   int
		stdout writerFunc
		behave func(remote)
		want   []int
	}{
		"deaf":                       {1 << 20, nil, deafAnd(nothing), everyTen(10)},
		"deaf, little input":         {unreadLimit - 1, nil, deafAnd(nothing), nil},
		"deaf, just enough input":    {unreadLimit, nil, deafAnd(nothing), everyTen(10)},
		"deaf, output during a call": {1 << 20, nil, deafAnd(says(6*time.Second, 10*time.Second)), everyTen(30)},
		"deaf, a paused reader": {
			1 << 20, func(p []byte) (int, error) { time.Sleep(50 * time.Second); return len(p), nil },
			deafAnd(says(6 * time.Second)),
			[]int{70, 80, 90, 100, 110, 120},
		},
		"answers":               {1 << 20, nil, answers(nothing), []int{30, 60, 120}},
		"answers, some output":  {1 << 20, nil, answers(says(42 * time.Second)), []int{30, 75, 110}},
		"answers, much output":  {1 << 20, nil, answers(func(r remote) { says(ticks(4*time.Second, 30)...)(r) }), nil},
		"answers, little input": {unreadLimit - 1, nil, answers(nothing), nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := checkTimes(t, c.size, 129*time.Second, c.stdout, func(r remote) { c.behave(remote{r.Conn, t}) })
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("calls at these seconds (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// everyTen returns from, from+10, … 120.
func everyTen(from int) (seconds []int) {
	for s := from; s <= 120; s += 10 {
		seconds = append(seconds, s)
	}
	return seconds
}

func ticks(every time.Duration, n int) (all []time.Duration) {
	for range n {
		all = append(all, every)
	}
	return all
}
