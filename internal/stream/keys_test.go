package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// keyboard is a stdin on which a test presses keys.
type keyboard struct {
	*io.PipeReader
	keys *io.PipeWriter
}

func newKeyboard() keyboard {
	r, w := io.Pipe()
	return keyboard{r, w}
}

func (k keyboard) press(keys string) { _, _ = k.keys.Write([]byte(keys)) }
func (k keyboard) Cancel() bool      { return k.CloseWithError(errors.New("canceled")) == nil }

func TestInteractive_KeysWhileDisconnected(t *testing.T) {
	for name, c := range map[string]struct {
		keys     string
		attempts int
		waited   time.Duration
	}{
		"Ctrl-D":            {"\x04", 1, time.Second},
		"Ctrl-C":            {"\x03", 1, time.Second},
		"Enter":             {"\r", 2, time.Second},
		"other keys":        {"ls", 2, RetryDelay},
		"paste with Ctrl-C": {"abc\x03", 1, time.Second},
		"escape key":        {"~.", 2, RetryDelay},
		"command, no Enter": {"rm -rf /", 2, RetryDelay},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connections := 0
				d := serveExec(t, func(r serverConn) {
					if connections++; connections == 1 {
						return
					}
					r.closeWithStatus(success)
					if ch, p, open := r.receive(); open {
						t.Errorf("the new shell received %q on channel %d", p, ch)
					}
				})
				k := newKeyboard()
				attempts := 0
				observe := func(e Event) {
					switch e.(type) {
					case Connecting:
						attempts++
					case Waiting:
						time.AfterFunc(time.Second, func() { k.press(c.keys) })
					}
				}
				s := NewSession(&testDriver{dial: d.dialFunc(V5)}, observe, Settings{
					LinkSettings: alwaysReconnect, Stdin: k, Interactive: true,
				})
				start := time.Now()
				err := s.Run(t.Context())
				if attempts != c.attempts || time.Since(start) != c.waited {
					t.Errorf("%d attempts after %v, want %d after %v", attempts, time.Since(start), c.attempts, c.waited)
				}
				var lost *LostError
				ended := errors.As(err, &lost)
				if strings.Contains(c.keys, "\x03") {
					ended = errors.Is(err, ErrInterrupted)
				}
				if gaveUp := c.attempts == 1; gaveUp != ended {
					t.Errorf("ended with %v", err)
				}
				synctest.Wait()
			})
		})
	}
}

// If the connection is lost, the session ends only if Ctrl-D was the last key.
func TestInteractive_ConnectionEndsAfterCtrlD(t *testing.T) {
	for keys, want := range map[string]int{"exit\x04": 1, "\x04q": 2} {
		synctest.Test(t, func(t *testing.T) {
			connections := 0
			d := serveExec(t, func(r serverConn) {
				if connections++; connections == 1 {
					r.receive()
					return
				}
				r.closeWithStatus(success)
			})
			k := newKeyboard()
			attempts := 0
			driver := &testDriver{dial: d.dialFunc(V5), opened: func(*Conn) error {
				time.AfterFunc(1, func() { k.press(keys) })
				return nil
			}}
			s := NewSession(driver, on(func(Connecting) { attempts++ }), Settings{
				LinkSettings: alwaysReconnect, Stdin: k, Interactive: true,
			})
			err := s.Run(t.Context())
			var lost *LostError
			if attempts != want || errors.As(err, &lost) != (want == 1) {
				t.Errorf("%q: %d attempts, ended with %v", keys, attempts, err)
			}
			synctest.Wait()
		})
	}
}

// Keys that are typed while Driver.Opened runs are sent on the new connection,
// after the size of the window.
func TestInteractive_KeysDuringOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connections := 0
		d := serveExec(t, func(r serverConn) {
			if connections++; connections == 1 {
				return
			}
			if ch, _, _ := r.receive(); ch != chResize {
				t.Errorf("first message on channel %d, want the size", ch)
			}
			if ch, p, _ := r.receive(); ch != chStdin || p != "\x03ls\r" {
				t.Errorf("channel %d %q, want what was typed", ch, p)
			}
			r.closeWithStatus(success)
		})
		k := newKeyboard()
		opened := 0
		driver := &testDriver{dial: d.dialFunc(V5), opened: func(*Conn) error {
			if opened++; opened == 2 {
				go k.press("\x03ls\r")
				synctest.Wait()
			}
			return nil
		}}
		s := NewSession(driver, nil, Settings{Stdin: k, Interactive: true, Window: testWindow{}})
		if err := s.Run(t.Context()); err != nil || opened != 2 {
			t.Errorf("%v after %d connections", err, opened)
		}
		synctest.Wait()
	})
}

// API servers that translate WebSocket to SPDY open connections even if the
// node is dead. With Proof, each connection after the first one counts only
// when output has arrived.
func TestProof(t *testing.T) {
	forEachProtocol(t, func(t *testing.T, protocol string) {
		const proof = 20 * time.Second
		connections, opened, early := 0, 0, 0
		var failures []string
		d := serveExec(t, func(r serverConn) {
			r.send(chStdout, "")
			switch connections++; connections {
			case 1: // this connection counts although it delivers no output, because it is the first
			case 2:
				for range 2 {
					if ch, _, open := r.receive(); open && ch != chResize {
						early++
					}
				}
			case 3:
				r.closeWithStatus(statusFor(protocol, "0"))
			case 4:
				r.send(chStdout, "hello ")
				r.send(chStdout, "world")
				r.closeWithStatus(statusFor(protocol, "7"))
			}
		})
		k := newKeyboard()
		var out bytes.Buffer
		driver := &testDriver{dial: d.dialFunc(protocol), opened: func(*Conn) error { opened++; return nil }}
		observe := on(func(e Failed) { failures = append(failures, e.Err.Error()) })
		s := NewSession(driver, observe, Settings{
			LinkSettings: alwaysReconnect, Stdin: k, Interactive: true, Proof: proof,
			Stdout: &out, Window: testWindow{},
		})
		start := time.Now()
		time.AfterFunc(RetryDelay+time.Second, func() { k.press("x") }) // while the second connection is silent
		err := s.Run(t.Context())
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Code != 7 || out.String() != "hello world" {
			t.Errorf("ended by %v, output %q", err, &out)
		}
		if opened != 2 || early != 0 {
			t.Errorf("%d connections counted, want the first and the fourth; %d keys were sent to a silent one",
				opened, early)
		}
		if want := (&LostError{errNoOutput}).Error(); len(failures) != 3 || failures[1] != want || failures[2] != want {
			t.Errorf("failures %q", failures)
		}
		if took := time.Since(start); took != 3*RetryDelay+proof {
			t.Errorf("took %v", took)
		}
		synctest.Wait()
	})
}

func TestProof_CtrlDBeforeOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connections := 0
		d := serveExec(t, func(r serverConn) {
			if connections++; connections > 1 {
				r.receive()
			}
		})
		k := newKeyboard()
		s := newTestSession(d.dialFunc(V5), Settings{Stdin: k, Interactive: true, Proof: 20 * time.Second})
		start := time.Now()
		time.AfterFunc(RetryDelay+time.Second, func() { k.press("\x04") })
		var lost *LostError
		if err := s.Run(t.Context()); !errors.As(err, &lost) || time.Since(start) != RetryDelay+time.Second {
			t.Errorf("ended by %v after %v", err, time.Since(start))
		}
		synctest.Wait()
	})
}

func TestEnded_CtrlDDuringCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(serverConn) {})
		k := newKeyboard()
		attempts := 0
		driver := &testDriver{dial: d.dialFunc(V5), ended: func(_ context.Context, err error) error {
			synctest.Wait() // until stdin is being read
			k.press("\x04")
			synctest.Wait()
			return err
		}}
		s := NewSession(driver, on(func(Connecting) { attempts++ }), Settings{
			LinkSettings: alwaysReconnect, Stdin: k, Interactive: true,
		})
		var lost *LostError
		if err := s.Run(t.Context()); !errors.As(err, &lost) || attempts != 1 {
			t.Errorf("ended by %v after %d attempts", err, attempts)
		}
		synctest.Wait()
	})
}

// The context of Driver.Ended ends when the user gives up.
func TestEnded_ContextEndsOnCtrlC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(serverConn) {})
		k := newKeyboard()
		driver := &testDriver{dial: d.dialFunc(V5), ended: func(ctx context.Context, err error) error {
			time.AfterFunc(time.Second, func() { k.press("\x03") })
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
			return &LostError{err}
		}}
		s := NewSession(driver, nil, Settings{Stdin: k, Interactive: true})
		begin := time.Now()
		if err := s.Run(t.Context()); !errors.Is(err, ErrInterrupted) || time.Since(begin) != time.Second {
			t.Errorf("ended by %v after %v", err, time.Since(begin))
		}
		synctest.Wait()
	})
}
