package stream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// silent is a server that accepts the socket and then does nothing until the
// client leaves.
func silent(r remote) { _, _, _ = r.Read(context.Background()) }

func TestStartTimeout_ServerSaysNothing(t *testing.T) {
	for _, tt := range []struct {
		name        string
		behave      func(r remote)
		interactive bool
		withOutput  bool
	}{
		{"no message", silent, false, false},
		{"no message, on a terminal", silent, true, false},
		{"only the empty first message", func(r remote) { r.send(chStdout, ""); silent(r) }, false, true},
		{"only the empty first message, on a terminal", func(r remote) { r.send(chStdout, ""); silent(r) }, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opened := 0
				s := &funcSession{Interactive: tt.interactive, StartTimeout: 35 * time.Second, WithOutput: tt.withOutput}
				s.Dial, s.Reconnect = pod(t, tt.behave).with(V5), ReconnectAlways
				s.OnOpen = func(*Conn) error { opened++; return nil }
				s.OnStart = func() { t.Error("the command counts as started") }
				begin := time.Now()
				err := s.Run(t.Context())
				var unstarted *StartError
				if !errors.As(err, &unstarted) || unstarted.Within != s.StartTimeout {
					t.Errorf("ended by %v", err)
				}
				if took := time.Since(begin); took != s.StartTimeout {
					t.Errorf("took %v", took)
				}
				if tt.interactive && opened > 0 {
					t.Error("the terminal was made raw")
				}
				synctest.Wait()
			})
		})
	}
}

func TestStartTimeout_CountsTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pod(t, silent)
		s := &funcSession{StartTimeout: 35 * time.Second}
		s.Dial = func(ctx context.Context) (*Conn, error) {
			time.Sleep(30 * time.Second)
			return d.with(V5)(ctx)
		}
		begin := time.Now()
		err := s.Run(t.Context())
		if took := time.Since(begin); took != s.StartTimeout {
			t.Errorf("took %v: %v", took, err)
		}
		synctest.Wait()
	})
}

func TestStartTimeout_SilentCommandRunsOn(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		d := pod(t, func(r remote) {
			r.send(chStdout, "")
			time.Sleep(100 * time.Second)
			r.finish(statusFor(protocol, "7"))
		})
		started := 0
		s := &funcSession{StartTimeout: 35 * time.Second, OnStart: func() { started++ }}
		s.Dial = d.with(protocol)
		err := s.Run(t.Context())
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Code != 7 || started != 1 {
			t.Errorf("ended by %v, started %d times", err, started)
		}
		synctest.Wait()
	})
}

func TestStartTimeout_OutputIsDelivered(t *testing.T) {
	for _, interactive := range []bool{false, true} {
		each(t, func(t *testing.T, protocol string) {
			d := pod(t, func(r remote) {
				r.send(chStdout, "")
				time.Sleep(5 * time.Second)
				r.send(chStdout, "hello ")
				time.Sleep(100 * time.Second)
				r.send(chStdout, "world")
				r.finish(statusFor(protocol, "0"))
			})
			var opened time.Duration
			var out collector
			begin := time.Now()
			s := &funcSession{StartTimeout: 35 * time.Second, WithOutput: true, Interactive: interactive, Stdout: &out}
			s.Dial = d.with(protocol)
			s.OnOpen = func(*Conn) error { opened = time.Since(begin); return nil }
			if err := s.Run(t.Context()); err != nil || out.text != "hello world" {
				t.Errorf("ended by %v, output %q", err, out.text)
			}
			if want := 5 * time.Second; interactive && opened != want || !interactive && opened != 0 {
				t.Errorf("opened after %v", opened)
			}
			synctest.Wait()
		})
	}
}

type collector struct{ text string }

func (c *collector) Write(p []byte) (int, error) { c.text += string(p); return len(p), nil }

// A command that ends without output counts as started.
func TestStartTimeout_CommandEndsWithoutOutput(t *testing.T) {
	for _, interactive := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := pod(t, func(r remote) {
				r.send(chStdout, "")
				time.Sleep(time.Second)
				r.finish(success)
			})
			s := &funcSession{StartTimeout: 35 * time.Second, WithOutput: true, Interactive: interactive}
			s.Dial = d.with(V5)
			if err := s.Run(t.Context()); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		})
	}
}

// The loss of a socket before the command has started does not extend the time
// limit.
func TestStartTimeout_SocketsAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sockets := 0
		d := pod(t, func(r remote) {
			sockets++
			r.send(chStdout, "")
			time.Sleep(10 * time.Second)
		})
		s := &funcSession{Interactive: true, StartTimeout: 35 * time.Second, WithOutput: true, Proof: 20 * time.Second}
		s.Dial, s.Reconnect = d.with(V5), ReconnectAlways
		s.OnOpen = func(*Conn) error { t.Error("the terminal was made raw"); return nil }
		begin := time.Now()
		err := s.Run(t.Context())
		var unstarted *StartError
		if took := time.Since(begin); !errors.As(err, &unstarted) || took != s.StartTimeout || sockets != 3 {
			t.Errorf("ended by %v after %v and %d sockets", err, took, sockets)
		}
		time.Sleep(time.Minute) // the handler of the last socket
		synctest.Wait()
	})
}
