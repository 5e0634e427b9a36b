package resume

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"kshell/internal/agent"
	"kshell/internal/stream"
)

// unread is a stdin that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("stdin was read")
	return 0, io.EOF
}

// endless is a stdin without input. Its Read ends when it is canceled.
type endless struct{ canceled chan struct{} }

func newEndless() endless { return endless{make(chan struct{})} }

func (e endless) Read([]byte) (int, error) { <-e.canceled; return 0, io.EOF }
func (e endless) Cancel() bool             { close(e.canceled); return true }

func TestSession_Outcomes(t *testing.T) {
	tests := []struct {
		name string
		kind agent.ExitKind
		code uint8
		want error
	}{
		{"success", agent.Exited, 0, nil},
		{"code", agent.Exited, 3, &stream.ExitError{Code: 3}},
		{"signal", agent.Signaled, 9, &stream.ExitError{Code: 137}},
		{"not found", agent.NotStarted, 127, &stream.RemoteError{Message: "text", Start: stream.StartNotFound}},
		{"not executable", agent.NotStarted, 126, &stream.RemoteError{Message: "text", Start: stream.StartNotExecutable}},
		{
			"no directory", agent.NotStarted, agent.NoDirectory,
			&DirectoryError{&stream.RemoteError{Message: "text", Start: stream.StartNotExecutable}},
		},
		{"time limit", agent.TimedOut, 15, &LimitError{&stream.ExitError{Code: 143}, "text"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) { a.exit(test.kind, test.code, "text") })
				stdin := newEndless()
				s := w.newSession(stream.Settings{Stdin: stdin}, Config{})
				begin := time.Now()
				err := s.Run(t.Context())
				if !reflect.DeepEqual(err, test.want) {
					t.Errorf("got %#v, want %#v", err, test.want)
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("Run took %v", took)
				}
				if a := w.agents[s.ID()]; !a.isDead() {
					t.Error("the agent has not received the acknowledgement of the exit")
				}
			})
		})
	}
}

// If the agent cannot start, nothing has run, and stdin was not read.
func TestSession_Unable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{}, nil)
		s := w.newSession(stream.Settings{Stdin: unread{t}}, Config{})
		w.agents[s.ID()] = newTestAgent(agent.SessionConfig{})
		var unable *UnableError
		if err := s.Run(t.Context()); !errors.As(err, &unable) || unable.Reason != "address already in use" {
			t.Errorf("got %v", err)
		}
		if s.Begun() || w.opened > 0 || len(w.ended) > 0 {
			t.Errorf("begun %v, opened %d, ended %v", s.Begun(), w.opened, w.ended)
		}
	})
}

func TestSession_Gone(t *testing.T) {
	tests := []struct {
		name  string
		cfg   Config
		begun bool
	}{
		{"while it was attached", Config{}, true},
		{"before it was attached", Config{ID: "none", Dir: "/dir"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) {
					time.Sleep(time.Minute)
					a.kill()
				})
				stdin := newEndless()
				s := w.newSession(stream.Settings{
					LinkSettings: stream.LinkSettings{ConnectTimeout: time.Minute}, Stdin: stdin,
				}, test.cfg)
				var gone *GoneError
				if err := s.Run(t.Context()); !errors.As(err, &gone) || gone.ID != s.ID() {
					t.Errorf("got %v", err)
				}
				if s.Begun() != test.begun || w.attaches != 1 {
					t.Errorf("begun %v, %d attaches", s.Begun(), w.attaches)
				}
			})
		})
	}
}

// A client detaches, and another one attaches and gets the rest.
func TestSession_DetachAndAttach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) {
			a.write(agent.Stdout, []byte("one "))
			time.Sleep(time.Minute)
			a.write(agent.Stdout, []byte("two "))
			a.exit(agent.Exited, 7, "")
		})
		var first, second bytes.Buffer
		s := w.newSession(stream.Settings{Stdin: newEndless(), Stdout: &first}, Config{})
		time.AfterFunc(time.Second, s.Detach)
		if err := s.Run(t.Context()); !errors.Is(err, ErrDetached) {
			t.Errorf("got %v", err)
		}
		again := w.newSession(stream.Settings{Stdin: newEndless(), Stdout: &second}, Config{ID: s.ID(), Dir: s.Dir()})
		wantExit(t, again.Run(t.Context()), 7)
		if first.String() != "one " || second.String() != "one two " {
			t.Errorf("output %q and %q", &first, &second)
		}
	})
}

// Detach also works during an outage.
func TestSession_DetachDuringOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) { _, _ = a.read() })
		s := w.newSession(stream.Settings{Stdin: newEndless()}, Config{})
		w.after(time.Second, func() {
			w.network.setRefuse(true)
			w.network.newest().reset()
		})
		time.AfterFunc(time.Minute, s.Detach)
		begin := time.Now()
		if err := s.Run(t.Context()); !errors.Is(err, ErrDetached) || time.Since(begin) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
	})
}

func TestSession_ContextEnds(t *testing.T) {
	for _, out := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) { _, _ = a.read() })
			s := w.newSession(stream.Settings{Stdin: newEndless()}, Config{})
			if out {
				w.after(time.Second, func() {
					w.network.setRefuse(true)
					w.network.newest().reset()
				})
			}
			cause := errors.New("the user leaves")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Minute, func() { cancel(cause) })
			begin := time.Now()
			if err := s.Run(ctx); !errors.Is(err, cause) || time.Since(begin) != time.Minute {
				t.Errorf("got %v after %v", err, time.Since(begin))
			}
		})
	}
}

func TestSession_LocalStreamsFail(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name string
		set  stream.Settings
	}{
		{"input", stream.Settings{Stdin: failing{broken}}},
		{"output", stream.Settings{Stdin: newEndless(), Stdout: failing{broken}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) {
					a.write(agent.Stdout, []byte("text"))
					if p, err := a.read(); err == nil || errors.Is(err, io.EOF) {
						t.Errorf("the command has read %q, %v", p, err)
					}
				})
				if _, ok := test.set.Stdin.(endless); ok {
					test.set.Stdin = newEndless() // in the bubble
				}
				err := w.newSession(test.set, Config{}).Run(t.Context())
				var output *stream.OutputError
				var input *stream.InputError
				if !errors.Is(err, broken) || errors.As(err, &input) != (test.name == "input") ||
					errors.As(err, &output) != (test.name == "output") {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// The exit code is known when all output was written, also if the relay was lost
// before that and no new one is opened.
func TestSession_LossAfterExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{}, func(a *testAgent) {
			a.write(agent.Stdout, []byte("text"))
			a.exit(agent.Exited, 7, "")
		})
		set := stream.Settings{Stdout: slowWriter{}}
		set.Reconnect = stream.ReconnectNever
		w.after(time.Second, func() { w.network.newest().reset() })
		wantExit(t, w.newSession(set, Config{}).Run(t.Context()), 7)
	})
}

// slowWriter is a writer whose Write takes five seconds.
type slowWriter struct{}

func (slowWriter) Write(p []byte) (int, error) {
	time.Sleep(5 * time.Second)
	return len(p), nil
}

// failing is a stream that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

// A container that does not answer ends the session at StartTimeout.
func TestSession_StartTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.SessionConfig{}, nil)
		w.setup = func(relay io.ReadWriter) bool {
			_, _ = relay.Read(make([]byte, 1))
			return false
		}
		s := w.newSession(stream.Settings{
			StartTimeout: 20 * time.Second, LinkSettings: stream.LinkSettings{ConnectTimeout: time.Hour},
		}, Config{})
		begin := time.Now()
		var late *stream.StartError
		if err := s.Run(t.Context()); !errors.As(err, &late) || time.Since(begin) > 21*time.Second {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
	})
}
