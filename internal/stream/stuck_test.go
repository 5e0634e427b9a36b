package stream

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errEnded = errors.New("the command has ended")

// upload runs a session that sends n bytes to a server with the behavior
// behave. It returns how often CheckStuck was called. answer returns its
// results.
func upload(t *testing.T, n int, answer func(call int) error, behave func(r remote)) (calls int, err error) {
	d := pod(t, behave)
	s := &funcSession{
		funcLink: funcLink{Dial: d.with(V5), Reconnect: ReconnectNever},
		Stdin:    bytes.NewReader(make([]byte, n)),
		OnStuck: func(context.Context) error {
			calls++
			return answer(calls)
		},
	}
	err = s.Run(t.Context())
	return calls, err
}

func stillRuns(int) error { return nil }

func TestCheckStuck_BlockedServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		calls, err := upload(t, 1<<20, func(int) error { return errEnded }, func(remote) { <-t.Context().Done() })
		if !errors.Is(err, errEnded) || calls != 1 {
			t.Errorf("%d calls, error %v; want 1, and %v", calls, err, errEnded)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestCheckStuck_CommandReadsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 20
		got := 0
		calls, err := upload(t, size, stillRuns, func(r remote) {
			time.Sleep(90 * time.Second)
			for {
				ch, p, open := r.receive()
				if !open || ch == chClose {
					break
				}
				got += len(p)
			}
			r.finish(success)
		})
		if err != nil || got != size {
			t.Errorf("%d of %d bytes arrived, error %v", got, size, err)
		}
		if calls < 5 {
			t.Errorf("%d calls in 90 s", calls)
		}
	})
}

func TestCheckStuck_SilentCommand(t *testing.T) {
	tests := []struct {
		name  string
		size  int
		calls int // in 5 minutes, at most: after 30 s, 1, 2 and 4 minutes
	}{
		{"its input is read", 1 << 20, 4},
		{"hardly any input", 100, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, err := upload(t, tt.size, stillRuns, func(r remote) {
					done := make(chan struct{})
					go func() { // reading answers the pings
						defer close(done)
						for open := true; open; {
							_, _, open = r.receive()
						}
					}()
					time.Sleep(5 * time.Minute)
					r.send(chError, success)
					<-done
				})
				if err != nil || calls > tt.calls {
					t.Errorf("%d calls, error %v; want at most %d", calls, err, tt.calls)
				}
			})
		})
	}
}

// An API server that translates the protocol accepts what the command has not
// read, answers pings, and never reports how the command ended.
func TestCheckStuck_BlockedServerAnswersPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		calls, err := upload(t, 1<<20, func(int) error { return errEnded }, func(r remote) {
			for open := true; open; { // reading answers the pings
				_, _, open = r.receive()
			}
		})
		if !errors.Is(err, errEnded) || calls != 1 {
			t.Errorf("%d calls, error %v; want 1, and %v", calls, err, errEnded)
		}
		if took := time.Since(start); took > 40*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestCheckStuck_SlowReaderOfOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(r remote) {
			r.send(chStdout, "x")
			r.finish(success)
		})
		calls := 0
		s := &funcSession{
			funcLink: funcLink{Dial: d.with(V5), Reconnect: ReconnectNever},
			Stdin:    bytes.NewReader(make([]byte, 1<<20)),
			Stdout:   pausing{},
			OnStuck: func(context.Context) error {
				calls++
				return nil
			},
		}
		if err := s.Run(t.Context()); err != nil || calls != 0 {
			t.Errorf("%d calls, error %v", calls, err)
		}
	})
}

// pausing is a writer whose Write takes 90 s.
type pausing struct{}

func (pausing) Write(p []byte) (int, error) {
	time.Sleep(90 * time.Second)
	return len(p), nil
}
