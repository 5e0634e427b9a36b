package stream

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errEnded = errors.New("it has ended")

// upload is a session that sends n bytes to a server that does behave, and counts how often it asks what has become of the command.
func upload(t *testing.T, n int, answer func(asked int) error, behave func(r remote)) (asked int, err error) {
	d := pod(t, behave)
	s := &funcSession{
		funcLink: funcLink{Dial: d.with(V5), Reconnect: ReconnectNever},
		Stdin:    bytes.NewReader(make([]byte, n)),
		Stuck: func(context.Context) error {
			asked++
			return answer(asked)
		},
	}
	err = s.Run(t.Context())
	return asked, err
}

func goOn(int) error { return nil }

func TestAServerThatIsStuckWithUnreadInputIsAskedBehindItsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		asked, err := upload(t, 1<<20, func(int) error { return errEnded }, func(remote) { <-t.Context().Done() })
		if !errors.Is(err, errEnded) || asked != 1 {
			t.Errorf("asked %d times, error %v; want once, and %v", asked, err, errEnded)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("it took %v: the user waits", took)
		}
	})
}

func TestACommandThatReadsNothingForALongTimeGetsAllOfItsInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 20
		got := 0
		asked, err := upload(t, size, goOn, func(r remote) {
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
		if asked < 5 {
			t.Errorf("asked %d times in 90 s", asked)
		}
	})
}

func TestACommandThatSaysNothingIsNotTakenForAStuckServer(t *testing.T) {
	tests := []struct {
		name  string
		size  int
		asked int // in 5 minutes, at most: after 30 s, 1, 2 and 4 minutes
	}{
		{"its input is read", 1 << 20, 4},
		{"hardly any input", 100, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked, err := upload(t, tt.size, goOn, func(r remote) {
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
				if err != nil || asked > tt.asked {
					t.Errorf("asked %d times, error %v; want %d times at most", asked, err, tt.asked)
				}
			})
		})
	}
}

// An API server that translates the protocol takes what the command has not read, answers pings, and never says how the command ended.
func TestAServerThatAnswersAndIsStuckAllTheSameIsAskedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		asked, err := upload(t, 1<<20, func(int) error { return errEnded }, func(r remote) {
			for open := true; open; { // reading answers the pings
				_, _, open = r.receive()
			}
		})
		if !errors.Is(err, errEnded) || asked != 1 {
			t.Errorf("asked %d times, error %v; want once, and %v", asked, err, errEnded)
		}
		if took := time.Since(start); took > 40*time.Second {
			t.Errorf("it took %v: the user waits", took)
		}
	})
}

func TestASlowReaderOfTheOutputIsNotTakenForAStuckServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, func(r remote) {
			r.send(chStdout, "x")
			r.finish(success)
		})
		asked := 0
		s := &funcSession{
			funcLink: funcLink{Dial: d.with(V5), Reconnect: ReconnectNever},
			Stdin:    bytes.NewReader(make([]byte, 1<<20)),
			Stdout:   pausing{},
			Stuck: func(context.Context) error {
				asked++
				return nil
			},
		}
		if err := s.Run(t.Context()); err != nil || asked != 0 {
			t.Errorf("asked %d times, error %v", asked, err)
		}
	})
}

// pausing is a reader of the output that pauses.
type pausing struct{}

func (pausing) Write(p []byte) (int, error) {
	time.Sleep(90 * time.Second)
	return len(p), nil
}
