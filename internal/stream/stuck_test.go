package stream

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errEnded = errors.New("the command has ended")

// upload runs a session that sends n bytes of stdin. CheckStuck calls check
// with the number of the call, from 1. upload returns the number of calls.
func upload(t *testing.T, n int, check func(call int) error, behave func(r serverConn)) (calls int, err error) {
	d := serveExec(t, behave)
	driver := &checkingDriver{testDriver{dial: d.dialFunc(V5)}, func() error { calls++; return check(calls) }}
	s := NewSession(driver, nil, Settings{
		LinkSettings: noReconnect, Stdin: bytes.NewReader(make([]byte, n)), CheckStuck: true,
	})
	err = s.Run(t.Context())
	return calls, err
}

func stillRuns(int) error { return nil }
func hasEnded(int) error  { return errEnded }

func TestCheckStuck_BlockedServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		calls, err := upload(t, 1<<20, hasEnded, readsNothing(t))
		if !errors.Is(err, errEnded) || calls != 1 {
			t.Errorf("%d calls, error %v; want 1 call, and %v", calls, err, errEnded)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A command that reads nothing for 90 s receives all of its input afterwards.
func TestCheckStuck_CommandReadsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 20
		got := 0
		calls, err := upload(t, size, stillRuns, func(r serverConn) {
			time.Sleep(90 * time.Second)
			for {
				ch, p, open := r.receive()
				if !open || ch == chClose {
					break
				}
				got += len(p)
			}
			r.closeWithStatus(success)
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
		name string
		size int
		most int // the maximum number of calls in 5 minutes: after 30 s, 1, 2 and 4 minutes
	}{
		{"its input is read", 1 << 20, 4},
		{"hardly any input", 100, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				behave := answersPings(func(serverConn) { time.Sleep(5 * time.Minute) })
				if calls, err := upload(t, tt.size, stillRuns, behave); err != nil || calls > tt.most {
					t.Errorf("%d calls, error %v; want at most %d calls", calls, err, tt.most)
				}
			})
		})
	}
}

// An API server that translates WebSocket to SPDY reads stdin that the command
// has not read, answers pings, and never reports the end of the command.
func TestCheckStuck_BlockedServerAnswersPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		calls, err := upload(t, 1<<20, hasEnded, serverConn.readAll)
		if !errors.Is(err, errEnded) || calls != 1 {
			t.Errorf("%d calls, error %v; want 1 call, and %v", calls, err, errEnded)
		}
		if took := time.Since(start); took > 40*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// While Stdout blocks, the silence does not mean that the server is stuck.
func TestCheckStuck_StdoutBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(r serverConn) {
			r.send(chStdout, "x")
			r.closeWithStatus(success)
		})
		calls := 0
		driver := &checkingDriver{testDriver{dial: d.dialFunc(V5)}, func() error { calls++; return nil }}
		s := NewSession(driver, nil, Settings{
			LinkSettings: noReconnect, Stdin: bytes.NewReader(make([]byte, 1<<20)),
			Stdout: slowWriter{}, CheckStuck: true,
		})
		if err := s.Run(t.Context()); err != nil || calls != 0 {
			t.Errorf("%d calls, error %v", calls, err)
		}
	})
}

// slowWriter is a writer that takes 90 s for each write.
type slowWriter struct{}

func (slowWriter) Write(p []byte) (int, error) {
	time.Sleep(90 * time.Second)
	return len(p), nil
}
