package stream

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sendNothing waits until the client disconnects.
func sendNothing(r serverConn) { _, _, _ = r.Read(context.Background()) }

// sendOnlyEmpty sends an empty message, which is the first message of every
// server, and nothing else.
func sendOnlyEmpty(r serverConn) {
	r.send(chStdout, "")
	sendNothing(r)
}

const startTimeout = 35 * time.Second

func TestStartTimeout_NoMessageOrOutput(t *testing.T) {
	for _, tt := range []struct {
		name        string
		behave      func(r serverConn)
		interactive bool
		withOutput  bool
	}{
		{"no message", sendNothing, false, false},
		{"no message, on a terminal", sendNothing, true, false},
		{"only the empty first message", sendOnlyEmpty, false, true},
		{"only the empty first message, on a terminal", sendOnlyEmpty, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opened := 0
				driver := &testDriver{
					dial:   serveExec(t, tt.behave).dialFunc(V5),
					opened: func(*Conn) error { opened++; return nil },
				}
				observe := on(func(Started) { t.Error("the command counts as started") })
				s := NewSession(driver, observe, Settings{
					LinkSettings: alwaysReconnect, Interactive: tt.interactive,
					StartTimeout: startTimeout, WithOutput: tt.withOutput,
				})
				begin := time.Now()
				err := s.Run(t.Context())
				var unstarted *StartError
				if !errors.As(err, &unstarted) || unstarted.Within != startTimeout {
					t.Errorf("ended by %v", err)
				}
				if took := time.Since(begin); took != startTimeout {
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

func TestStartTimeout_IncludesHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, sendNothing)
		s := newTestSession(func(ctx context.Context) (*Conn, error) {
			time.Sleep(30 * time.Second)
			return d.dialFunc(V5)(ctx)
		}, Settings{StartTimeout: startTimeout})
		begin := time.Now()
		err := s.Run(t.Context())
		if took := time.Since(begin); took != startTimeout {
			t.Errorf("took %v: %v", took, err)
		}
		synctest.Wait()
	})
}

func TestStartTimeout_SilentCommandContinues(t *testing.T) {
	forEachProtocol(t, func(t *testing.T, protocol string) {
		d := serveExec(t, func(r serverConn) {
			r.send(chStdout, "")
			time.Sleep(100 * time.Second)
			r.closeWithStatus(statusFor(protocol, "7"))
		})
		started := 0
		driver := &testDriver{dial: d.dialFunc(protocol)}
		s := NewSession(driver, on(func(Started) { started++ }), Settings{StartTimeout: startTimeout})
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
		forEachProtocol(t, func(t *testing.T, protocol string) {
			d := serveExec(t, func(r serverConn) {
				r.send(chStdout, "")
				time.Sleep(5 * time.Second)
				r.send(chStdout, "hello ")
				time.Sleep(100 * time.Second)
				r.send(chStdout, "world")
				r.closeWithStatus(statusFor(protocol, "0"))
			})
			var opened time.Duration
			var out strings.Builder
			begin := time.Now()
			driver := &testDriver{
				dial:   d.dialFunc(protocol),
				opened: func(*Conn) error { opened = time.Since(begin); return nil },
			}
			s := NewSession(driver, nil, Settings{
				StartTimeout: startTimeout, WithOutput: true, Interactive: interactive, Stdout: &out,
			})
			if err := s.Run(t.Context()); err != nil || out.String() != "hello world" {
				t.Errorf("ended by %v, output %q", err, &out)
			}
			if want := 5 * time.Second; interactive && opened != want || !interactive && opened != 0 {
				t.Errorf("opened after %v", opened)
			}
			synctest.Wait()
		})
	}
}

// A command that ends without output counts as started.
func TestStartTimeout_CommandEndsWithoutOutput(t *testing.T) {
	for _, interactive := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := serveExec(t, func(r serverConn) {
				r.send(chStdout, "")
				time.Sleep(time.Second)
				r.closeWithStatus(success)
			})
			set := Settings{StartTimeout: startTimeout, WithOutput: true, Interactive: interactive}
			s := newTestSession(d.dialFunc(V5), set)
			if err := s.Run(t.Context()); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		})
	}
}

// The loss of a connection before the command has started does not extend the
// time limit.
func TestStartTimeout_ConnectionsAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connections := 0
		d := serveExec(t, func(r serverConn) {
			connections++
			r.send(chStdout, "")
			time.Sleep(10 * time.Second)
		})
		driver := &testDriver{
			dial:   d.dialFunc(V5),
			opened: func(*Conn) error { t.Error("the terminal was made raw"); return nil },
		}
		s := NewSession(driver, nil, Settings{
			Interactive: true, StartTimeout: startTimeout, WithOutput: true, Proof: 20 * time.Second,
		})
		begin := time.Now()
		err := s.Run(t.Context())
		var unstarted *StartError
		if took := time.Since(begin); !errors.As(err, &unstarted) || took != startTimeout || connections != 3 {
			t.Errorf("ended by %v after %v and %d connections", err, took, connections)
		}
		time.Sleep(time.Minute) // until the handler of the last connection has returned
		synctest.Wait()
	})
}
