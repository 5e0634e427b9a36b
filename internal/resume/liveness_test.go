package resume

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kshell/internal/agent"
	"kshell/internal/stream"
)

// setRefuse makes the network refuse connections.
func (n *network) setRefuse(refuse bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse = refuse
}

// typist is a stdin on which a test types. Its Read ends when it is canceled.
type typist struct {
	*io.PipeReader
	w *io.PipeWriter
}

func newTypist() typist {
	r, w := io.Pipe()
	return typist{r, w}
}

func (p typist) Cancel() bool { _ = p.Close(); return true }

// shellCommand is a command on a terminal that echoes keys, and ends at the key q.
func shellCommand(a *testAgent) {
	for {
		p, err := a.read()
		if err != nil {
			return
		}
		a.write(agent.Stdout, p)
		if bytes.HasSuffix(p, []byte("q")) {
			a.exit(agent.Exited, 7, "")
			return
		}
	}
}

// A relay in a black hole is replaced soon after a ping. A key brings the ping
// forward.
func TestSession_BlackHole(t *testing.T) {
	tests := []struct {
		name  string
		typed bool
		limit time.Duration
	}{
		{"idle", false, 10*time.Second + minAnswer + checkEvery},
		{"a key is typed", true, minAnswer + checkEvery},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, agent.SessionConfig{Terminal: true}, shellCommand)
				stdin := newTypist()
				var stdout output
				s := w.newSession(stream.Settings{Stdin: stdin, Stdout: &stdout, Interactive: true}, Config{})
				w.after(65*time.Second, func() {
					w.network.newest().blackHole()
					begin := time.Now()
					if test.typed {
						_, _ = stdin.w.Write([]byte("k"))
					}
					w.waitOpened(2)
					if took := time.Since(begin); took > test.limit+time.Second {
						t.Errorf("the relay was replaced after %v", took)
					}
					_, _ = stdin.w.Write([]byte("q"))
				})
				wantExit(t, s.Run(t.Context()), 7)
				if want := map[bool]string{false: "q", true: "kq"}[test.typed]; stdout.String() != want {
					t.Errorf("output %q, want %q", stdout.String(), want)
				}
			})
		})
	}
}

// Keys that are typed during an outage are applied once. They start an attempt to
// connect.
func TestSession_KeysDuringOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{Terminal: true}, shellCommand)
		stdin := newTypist()
		var stdout output
		s := w.newSession(stream.Settings{
			LinkSettings: stream.LinkSettings{Backoff: backoff(time.Hour)}, Stdin: stdin, Stdout: &stdout, Interactive: true,
		}, Config{})
		w.after(time.Minute, func() {
			w.network.setRefuse(true)
			w.network.newest().reset()
			time.Sleep(time.Second)
			_, _ = stdin.w.Write([]byte("\x03\x04\r"))
			time.Sleep(time.Second)
			w.network.setRefuse(false)
			begin := time.Now()
			_, _ = stdin.w.Write([]byte("q"))
			w.waitOpened(2)
			if took := time.Since(begin); took > time.Second {
				t.Errorf("connected after %v", took)
			}
		})
		wantExit(t, s.Run(t.Context()), 7)
		if stdout.String() != "\x03\x04\rq" {
			t.Errorf("output %q", stdout.String())
		}
	})
}

// While the local terminal is blocked, the relay stays open, and nothing is lost.
func TestSession_BlockedOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) {
			for range 300 {
				a.write(agent.Stdout, bytes.Repeat([]byte("x"), 32<<10))
				time.Sleep(time.Second)
			}
			a.exit(agent.Exited, 7, "")
		})
		stdout := &pausing{until: time.Now().Add(10 * time.Minute)}
		s := w.newSession(stream.Settings{Stdout: stdout}, Config{})
		wantExit(t, s.Run(t.Context()), 7)
		if w.attaches > 0 || stdout.written != 300*32<<10 {
			t.Errorf("%d attaches, %d bytes", w.attaches, stdout.written)
		}
	})
}

// pausing is a writer that blocks until a time.
type pausing struct {
	until   time.Time
	written int
}

func (p *pausing) Write(data []byte) (int, error) {
	time.Sleep(time.Until(p.until))
	p.written += len(data)
	return len(data), nil
}

// A command that does not read its input does not make the relay look dead.
func TestSession_UnreadInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) {
			time.Sleep(10 * time.Minute)
			a.exit(agent.Exited, 7, "")
		})
		s := w.newSession(stream.Settings{Stdin: bytes.NewReader(make([]byte, 2<<20))}, Config{})
		wantExit(t, s.Run(t.Context()), 7)
		if w.attaches > 0 {
			t.Errorf("%d attaches", w.attaches)
		}
	})
}

// window is a terminal's size that changes.
type window struct {
	sizes   chan struct{}
	columns uint16
}

func (w *window) Size() (width, height uint16, ok bool) { return w.columns, 24, true }
func (w *window) Resized() <-chan struct{}              { return w.sizes }

func TestSession_SizeSignalAndRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{Terminal: true}, shellCommand)
		w.network.delay = 50 * time.Millisecond
		stdin, size := newTypist(), &window{make(chan struct{}), 80}
		s := w.newSession(stream.Settings{Stdin: stdin, Window: size, Interactive: true}, Config{})
		w.after(time.Minute, func() {
			s.Signal(15)
			took, ok := s.RoundTrip(t.Context())
			if !ok || took < 100*time.Millisecond || took > 110*time.Millisecond {
				t.Errorf("round trip %v, %v", took, ok)
			}
			size.columns = 100
			size.sizes <- struct{}{}
			time.Sleep(time.Second)
			s.Redraw()
			time.Sleep(time.Second)
			_, _ = stdin.w.Write([]byte("q"))
		})
		wantExit(t, s.Run(t.Context()), 7)
		a := w.agents[s.ID()]
		want := []agent.Size{{Cols: 80, Rows: 24}, {Cols: 100, Rows: 24}, {Cols: 101, Rows: 24}, {Cols: 100, Rows: 24}}
		if !slices.Equal(a.sizes, want) || !slices.Equal(a.signals, []uint8{15}) {
			t.Errorf("sizes %v, signals %v", a.sizes, a.signals)
		}
		if _, ok := s.RoundTrip(context.Background()); ok {
			t.Error("a round trip without a relay")
		}
	})
}

func TestSession_Notices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{Terminal: true, Term: "xterm"}, shellCommand)
		var first, second []Notice
		stdin, other := newTypist(), newTypist()
		s := w.newSession(stream.Settings{Stdin: stdin, Interactive: true},
			Config{Name: "one", Term: "xterm", Notify: func(n Notice) { first = append(first, n) }})
		w.after(time.Minute, func() {
			s := w.newSession(stream.Settings{Stdin: other, Interactive: true},
				Config{ID: s.ID(), Name: "two", Term: "vt100", Notify: func(n Notice) { second = append(second, n) }})
			time.AfterFunc(time.Minute, s.Detach)
			_ = s.Run(t.Context())
			_, _ = stdin.w.Write([]byte("q"))
		})
		wantExit(t, s.Run(t.Context()), 7)
		if want := []Notice{Presence{"two", true}, Presence{"two", false}}; !slices.Equal(first, want) {
			t.Errorf("first client: %v", first)
		}
		if want := []Notice{Joined{1}, OtherTerm{"xterm"}}; !slices.Equal(second, want) {
			t.Errorf("second client: %v", second)
		}
	})
}

func TestPulse(t *testing.T) {
	const second = time.Second
	p := newPulse(time.Minute)
	if p.interval != maxInterval {
		t.Errorf("interval %v", p.interval)
	}
	p = newPulse(10 * second)
	p.restart(0)
	if p.due(9*second) || !p.due(10*second) {
		t.Error("the first ping is not due after 10 s")
	}
	p.ping(10 * second)
	for _, test := range []struct {
		roundTrip, limit time.Duration
		sent             int
	}{
		{0, minAnswer, 0},
		{time.Second, 4 * time.Second, 0},
		{time.Minute, maxAnswer, 0},
		{0, minAnswer + 2*second, 2 * sendRate},
	} {
		q := p
		q.sent(test.sent)
		_, early := q.overdue(10*second+test.limit-1, test.roundTrip)
		since, late := q.overdue(10*second+test.limit, test.roundTrip)
		if early || !late || since != test.limit {
			t.Errorf("round trip %v, %d bytes: overdue %v, %v after %v", test.roundTrip, test.sent, early, late, since)
		}
	}
	p.ping(12 * second) // the limit counts from the first ping that was not answered
	if _, late := p.overdue(13*second, 0); !late {
		t.Error("the second ping has extended the limit")
	}
	p.woke(13 * second)
	if _, late := p.overdue(15*second, 0); late {
		t.Error("overdue just after the computer woke up")
	}
	p.heard()
	if _, late := p.overdue(time.Hour, 0); late {
		t.Error("overdue after an answer")
	}
	p = newPulse(0)
	p.ping(0)
	if _, late := p.overdue(time.Hour, 0); late || !p.due(maxInterval) {
		t.Error("without an interval, no answer is overdue, and pings are due")
	}
}

func TestLate(t *testing.T) {
	begin := time.Now()
	if late := late(begin, begin.Add(checkEvery+time.Minute)); late != time.Minute {
		t.Errorf("%v", late)
	}
	// While the computer is asleep, only the wall clock goes on.
	slept := begin.Round(0).Add(time.Hour)
	if late := late(begin, slept); late < 59*time.Minute {
		t.Errorf("%v after an hour of sleep", late)
	}
}
