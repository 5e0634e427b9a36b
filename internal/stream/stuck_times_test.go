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

// checkTimes runs a session that sends n bytes of stdin. It returns the seconds
// after the start at which CheckStuck was called, up to limit.
func checkTimes(
	t *testing.T, n int, limit time.Duration, stdout writerFunc, behave func(r serverConn),
) (seconds []int) {
	t.Helper()
	start := time.Now()
	driver := &checkingDriver{testDriver{dial: serveExec(t, behave).dialFunc(V5)}, func() error {
		seconds = append(seconds, int(time.Since(start)/time.Second))
		return nil
	}}
	set := Settings{LinkSettings: noReconnect, Stdin: bytes.NewReader(make([]byte, n)), CheckStuck: true}
	if stdout != nil {
		set.Stdout = stdout
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := NewSession(driver, nil, set).Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	return seconds
}

func TestCheckStuck_Times(t *testing.T) {
	outputAfter := func(delays ...time.Duration) func(serverConn) {
		return func(r serverConn) {
			for _, d := range delays {
				time.Sleep(d)
				r.send(chStdout, "x")
			}
		}
	}
	answers := func(during func(serverConn)) func(serverConn) {
		return func(r serverConn) {
			var writing sync.WaitGroup
			writing.Go(func() { during(r) })
			r.readAll()
			writing.Wait()
		}
	}
	readsNothing := func(during func(serverConn)) func(serverConn) {
		return func(r serverConn) {
			during(r)
			<-r.t.Context().Done()
		}
	}
	noOutput := outputAfter()
	every10 := func(from int) (seconds []int) {
		for s := from; s <= 120; s += 10 {
			seconds = append(seconds, s)
		}
		return seconds
	}
	for name, c := range map[string]struct {
		size   int
		stdout writerFunc
		behave func(serverConn)
		want   []int
	}{
		"reads nothing":                    {1 << 20, nil, readsNothing(noOutput), every10(10)},
		"reads nothing, little input":      {unreadLimit - 1, nil, readsNothing(noOutput), nil},
		"reads nothing, just enough input": {unreadLimit, nil, readsNothing(noOutput), every10(10)},
		"reads nothing, output during a check": {
			1 << 20, nil, readsNothing(outputAfter(6*time.Second, 10*time.Second)), every10(30),
		},
		"reads nothing, stdout blocks": {
			1 << 20, func(p []byte) (int, error) { time.Sleep(50 * time.Second); return len(p), nil },
			readsNothing(outputAfter(6 * time.Second)), every10(70),
		},
		"answers":               {1 << 20, nil, answers(noOutput), []int{30, 60, 120}},
		"answers, some output":  {1 << 20, nil, answers(outputAfter(42 * time.Second)), []int{30, 75, 110}},
		"answers, much output":  {1 << 20, nil, answers(outputAfter(repeat(4*time.Second, 30)...)), nil},
		"answers, little input": {unreadLimit - 1, nil, answers(noOutput), nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				behave := func(r serverConn) { c.behave(serverConn{r.Conn, t}) }
				got := checkTimes(t, c.size, 129*time.Second, c.stdout, behave)
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("called at these seconds (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func repeat(d time.Duration, n int) (all []time.Duration) {
	for range n {
		all = append(all, d)
	}
	return all
}
