package resume

import (
	"testing"
	"testing/synctest"
	"time"

	"kshell/internal/agent"
	"kshell/internal/stream"
)

// times records when Write is called.
type times struct {
	begin time.Time
	calls []time.Duration
	size  int
}

func (w *times) Write(p []byte) (int, error) {
	w.calls = append(w.calls, time.Since(w.begin))
	w.size += len(p)
	return len(p), nil
}

// The first output is written at once. Output that follows soon is written after
// collectTime, or when collectBytes have collected.
func TestSession_CollectsOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const small, large = 2000, 30 << 10 // larger than what is appended to a waiting chunk
		w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) {
			a.write(agent.Stdout, make([]byte, small))
			time.Sleep(collectTime / 2)
			a.write(agent.Stdout, make([]byte, small)) // waits for collectTime
			time.Sleep(time.Second)
			for range 8 { // the first is written at once, and five are enough for collectBytes
				a.write(agent.Stdout, make([]byte, large))
			}
			time.Sleep(time.Second)
			a.exit(agent.Exited, 7, "")
		})
		stdout := &times{begin: time.Now()}
		wantExit(t, w.newSession(stream.Settings{Stdout: stdout}, Config{}).Run(t.Context()), 7)
		if stdout.size != 2*small+8*large {
			t.Errorf("%d bytes", stdout.size)
		}
		first := stdout.calls[0]
		for i, want := range []time.Duration{0, collectTime * 3 / 2} {
			if got := stdout.calls[i] - first; got < 0 || got > want {
				t.Errorf("write %d after %v, want at most %v", i, got, want)
			}
		}
		last := stdout.calls[len(stdout.calls)-1]
		if late := last - first - time.Second - collectTime/2; late < 0 || late > 2*collectTime {
			t.Errorf("the last output was written after %v", late)
		}
	})
}

// The goroutine that writes output is not woken for each frame.
func TestSession_MustWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(nil, nil, stream.Settings{}, Config{ID: "a1"})
		s.client.Connect()
		offset := uint64(0)
		receive := func(m agent.Message) {
			t.Helper()
			if err := s.client.Receive(agent.Append(nil, m), s.now()); err != nil {
				t.Fatal(err)
			}
		}
		output := func() {
			t.Helper()
			const size = 30 << 10
			receive(&agent.Output{Offset: offset, Stream: agent.Stdout, Data: make([]byte, size)})
			offset += size
		}
		receive(&agent.Welcome{Version: agent.Version})
		if s.mustWrite(s.now()) {
			t.Error("without output")
		}
		time.Sleep(time.Second)
		wakeups := 0
		for range 50 {
			output()
			if s.mustWrite(s.now()) {
				wakeups++
				for chunk, ok := s.client.Output(); ok; chunk, ok = s.client.Output() {
					s.client.Written(len(chunk.Data))
				}
			}
			time.Sleep(10 * time.Microsecond)
		}
		if wakeups != 10 { // the first, and each five frames
			t.Errorf("%d wakeups for 50 frames", wakeups)
		}
		time.Sleep(collectTime)
		select {
		case <-s.toWrite:
		default:
			t.Error("the rest is not written")
		}
	})
}
