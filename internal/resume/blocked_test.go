package resume

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kshell/internal/agent"
	"kshell/internal/stream"
)

// A notice that is shown slowly, because the terminal is slow, does not make the
// relay overdue: the relay is not read at that time.
func TestSession_SlowNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{Terminal: true, Term: "other"}, func(a *testAgent) {
			time.Sleep(3 * time.Minute)
			a.exit(agent.Exited, 7, "")
		})
		s := w.newSession(stream.Settings{Stdin: newEndless()}, Config{Term: "xterm", Notify: func(Notice) {
			time.Sleep(2 * time.Minute)
		}})
		wantExit(t, s.Run(t.Context()), 7)
		if w.attaches > 0 {
			t.Errorf("the relay was replaced %d times", w.attaches)
		}
	})
}

// A connection that becomes a black hole while a notice is shown slowly is replaced
// after the notice.
func TestSession_BlackHoleDuringNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{Terminal: true, Term: "other"}, func(a *testAgent) {
			time.Sleep(3 * time.Minute)
			a.exit(agent.Exited, 7, "")
		})
		s := w.newSession(stream.Settings{Stdin: newEndless()}, Config{Term: "xterm", Notify: func(Notice) {
			w.network.newest().blackHole()
			time.Sleep(time.Minute)
		}})
		w.after(time.Minute, func() {
			w.waitOpened(2)
			if s.now() > 80*time.Second {
				t.Errorf("the relay was replaced after %v", s.now())
			}
		})
		wantExit(t, s.Run(t.Context()), 7)
	})
}

// Progress of the upload that is shown slowly does not delay the upload.
func TestSession_SlowProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) { a.exit(agent.Exited, 7, "") })
		const blocks = 100
		w.setup = func(relay io.ReadWriter) bool {
			lines := bufio.NewReader(relay)
			for range blocks {
				if _, err := lines.ReadString('\n'); err != nil {
					return false
				}
				_, _ = io.WriteString(relay, "got\n")
			}
			return true
		}
		shown := make(chan int64, blocks)
		s := w.newSession(stream.Settings{}, Config{Start: &Start{ID: "test", Progress: func(sent, _ int64) {
			shown <- sent
			time.Sleep(2 * time.Minute)
		}}})
		s.newSetup = func() negotiation { return &blockSetup{progress: s.showProgress, left: blocks} }
		begin := time.Now()
		wantExit(t, s.Run(t.Context()), 7)
		if w.starts != 1 || time.Since(begin) > 10*time.Second {
			t.Errorf("%d starts in %v", w.starts, time.Since(begin))
		}
		time.Sleep(3 * time.Minute) // until Progress has returned
		if len(shown) != 1 || <-shown == 0 {
			t.Error("the progress was not shown once")
		}
	})
}

// blockSetup is a dialogue in which lines are sent and acknowledged.
type blockSetup struct {
	lineSetup
	progress func(sent, total int64)
	sent     bool
	acked    int64
	left     int64
}

func (b *blockSetup) Receive(p []byte, now time.Duration) ([]byte, error) {
	for i, c := range p {
		if c == '\n' {
			b.acked, b.left, b.sent = b.acked+1, b.left-1, false
			b.progress(b.acked, b.acked+b.left)
		}
		if b.left == 0 {
			b.done = true
			return p[i+1:], nil
		}
	}
	return nil, nil
}

func (b *blockSetup) Next(buf []byte, _ time.Duration) []byte {
	if b.sent || b.left == 0 {
		return buf
	}
	b.sent = true
	return fmt.Appendf(buf, "block %d\n", b.acked)
}

// Run returns soon after the end of the context, although a write to stdout blocks.
func TestSession_BlockedStdout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) { a.write(agent.Stdout, make([]byte, 10<<20)) })
		stuck := &stuckWriter{unblock: make(chan struct{})}
		s := w.newSession(stream.Settings{Stdin: newEndless(), Stdout: stuck}, Config{})
		cause := errors.New("the user leaves")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(cause) })
		time.AfterFunc(time.Hour, func() { close(stuck.unblock) })
		begin := time.Now()
		if err := s.Run(ctx); !errors.Is(err, cause) || time.Since(begin) > time.Minute+5*time.Second {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
		<-stuck.unblock
		synctest.Wait()
		stuck.mu.Lock()
		defer stuck.mu.Unlock()
		if stuck.calls != 1 {
			t.Errorf("%d writes", stuck.calls)
		}
	})
}

// stuckWriter is a writer whose Write blocks.
type stuckWriter struct {
	unblock chan struct{}
	mu      sync.Mutex
	calls   int
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.calls++
	w.mu.Unlock()
	<-w.unblock
	return len(p), nil
}

// If the relay that was to start the agent ends after the dialogue, the exit
// code shows whether the command may have run.
func TestSession_StartRelayEnds(t *testing.T) {
	codes := map[string]bool{"1": true, "126": true, "127": true, "2": false, "0": false, "137": false}
	for code, nothingRan := range codes {
		t.Run("code "+code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, agent.SessionConfig{}, nil)
				w.setup = func(relay io.ReadWriter) bool {
					_, _ = io.WriteString(relay, "ready\n")
					_, _ = relay.Read(make([]byte, 100)) // the Hello
					relay.(*messages).exit(code)
					return false
				}
				s := w.newSession(stream.Settings{
					LinkSettings: stream.LinkSettings{ConnectTimeout: time.Minute}, Stdin: unread{t},
				}, Config{})
				err := s.Run(t.Context())
				var unable *UnableError
				var gone *GoneError
				if errors.As(err, &unable) != nothingRan || errors.As(err, &gone) == nothingRan {
					t.Errorf("got %v", err)
				}
				if w.starts != 1 {
					t.Errorf("%d starts", w.starts)
				}
			})
		})
	}
}
