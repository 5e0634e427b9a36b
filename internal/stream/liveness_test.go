package stream

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"kshell/internal/group"
)

// rawServer accepts every handshake with V5, and then passes the TCP connection
// to behave, which writes frames itself. What the client sends is read and
// dropped, so that pings are not answered.
func rawServer(t testing.TB, behave func(conn net.Conn)) *Dialer {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Protocol: "+V5+"\r\nSec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, conn)
		}()
		behave(conn)
		_ = conn.Close()
		<-drained
	})
}

// frameHeader returns the header of an unmasked binary frame that is the last
// frame of its message.
func frameHeader(size int) []byte {
	return binary.BigEndian.AppendUint64([]byte{0x82, 127}, uint64(size))
}

// message returns one binary message in one frame.
func message(ch channel, payload string) []byte {
	return append(append(frameHeader(headroom+len(payload)), byte(ch)), payload...)
}

// pingingSession returns a session with a Keepalive of 10 s that does not
// reconnect. overdue collects the durations of its Overdue events.
func pingingSession(d *Dialer, set Settings) (s *Session, overdue *[]time.Duration) {
	overdue = new([]time.Duration)
	set.LinkSettings, set.Keepalive = noReconnect, 10*time.Second
	observe := on(func(e Overdue) { *overdue = append(*overdue, e.For) })
	return NewSession(&testDriver{dial: d.dialFunc(V5)}, observe, set), overdue
}

func TestDeadLink_InsideMessage(t *testing.T) {
	const size, sent = 1 << 20, 100_000
	synctest.Test(t, func(t *testing.T) {
		d := rawServer(t, func(conn net.Conn) {
			_, _ = conn.Write(append(frameHeader(headroom+size), byte(chStdout)))
			_, _ = conn.Write(make([]byte, sent))
			<-t.Context().Done()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		var out bytes.Buffer
		s, overdue := pingingSession(d, Settings{Stdout: &out})
		start := time.Now()
		err := s.Run(ctx)
		var lost *LostError
		if !errors.As(err, &lost) || !errors.Is(err, errDead) {
			t.Errorf("error %v, want a LostError with errDead", err)
		}
		if took := time.Since(start); took < deadAfter || took > 25*time.Second {
			t.Errorf("detected after %v", took)
		}
		if len(*overdue) == 0 {
			t.Error("no Overdue event")
		}
		if out.Len() != sent {
			t.Errorf("%d bytes delivered, want the %d that arrived", out.Len(), sent)
		}
	})
}

func TestDeadLink_SlowMessageIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := rawServer(t, func(conn net.Conn) {
			_, _ = conn.Write(append(frameHeader(headroom+20), byte(chStdout)))
			for range 20 {
				time.Sleep(7 * time.Second)
				_, _ = conn.Write([]byte("x"))
			}
			_, _ = conn.Write(message(chError, success))
		})
		var out bytes.Buffer
		s, overdue := pingingSession(d, Settings{Stdout: &out})
		if err := s.Run(t.Context()); err != nil || len(*overdue) > 0 || out.Len() != 20 {
			t.Errorf("error %v, overdue %v, %d bytes", err, *overdue, out.Len())
		}
	})
}

func TestDeadLink_ConsumerPausedInsideMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 3 * readSize
		d := rawServer(t, func(conn net.Conn) {
			_, _ = conn.Write(message(chStdout, strings.Repeat("x", size)))
			_, _ = conn.Write(message(chError, success))
			<-t.Context().Done()
		})
		n := 0
		s, overdue := pingingSession(d, Settings{Stdout: writerFunc(func(p []byte) (int, error) {
			time.Sleep(90 * time.Second)
			n += len(p)
			return len(p), nil
		})})
		if err := s.Run(t.Context()); err != nil || len(*overdue) > 0 || n != size {
			t.Errorf("error %v, overdue %v, %d bytes", err, *overdue, n)
		}
	})
}

// The answer to a ping may arrive between the frames of one message.
func TestDeadLink_AnswerInsideMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(r serverConn) {
			ctx := context.Background()
			w, err := r.Writer(ctx, websocket.MessageBinary)
			if err != nil {
				t.Error(err)
				return
			}
			closed := make(chan struct{})
			go func() { // the server answers pings while it reads
				defer close(closed)
				r.receive()
			}()
			_, _ = w.Write(append([]byte{byte(chStdout)}, make([]byte, 100_000)...))
			time.Sleep(10 * time.Minute)
			_ = w.Close()
			r.send(chError, success)
			<-closed
		})
		s, overdue := pingingSession(d, Settings{})
		if err := s.Run(t.Context()); err != nil || len(*overdue) > 0 {
			t.Errorf("error %v, overdue %v", err, *overdue)
		}
	})
}

// A silent server that answers pings is pinged once per keepalive time, not at
// every check.
func TestKeepalive_OnePingPerSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pings atomic.Int32
		d := serve(t, func(w http.ResponseWriter, req *http.Request) {
			ws, err := websocket.Accept(w, req, &websocket.AcceptOptions{
				Subprotocols: Protocols(), OnPingReceived: func(context.Context, []byte) bool { pings.Add(1); return true },
			})
			if err != nil {
				t.Error(err)
				return
			}
			answersPings(func(serverConn) { time.Sleep(10 * time.Minute) })(serverConn{ws, t})
		})
		s, _ := pingingSession(d, Settings{})
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
		if n, most := int(pings.Load()), int(10*time.Minute/(10*time.Second-pingMargin)); n < most/2 || n > most {
			t.Errorf("%d pings in 10 minutes, want %d at most", n, most)
		}
	})
}

func TestIdleKeepalive_IndependentOfKeepalive(t *testing.T) {
	for _, c := range []struct {
		keepalive time.Duration
		idle      bool
		want      int
	}{
		{10 * time.Second, true, int(4*time.Hour/idleEvery) - 1},
		{0, true, int(4*time.Hour/idleEvery) - 1},
		{10 * time.Second, false, 0},
		{0, false, 0},
	} {
		t.Run(fmt.Sprint(c.keepalive, " ", c.idle), func(t *testing.T) {
			forEachProtocol(t, func(t *testing.T, protocol string) {
				var messages atomic.Int32
				d := strictProxy(t, &messages)
				s := newTestSession(d.dialFunc(protocol), Settings{
					LinkSettings: noReconnect, Keepalive: c.keepalive, IdleKeepalive: c.idle,
				})
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Hour-time.Second)
				defer cancel()
				if err := s.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the session ended: %v", err)
				}
				if n := int(messages.Load()); n != c.want {
					t.Errorf("%d messages in just under 4 h, want %d", n, c.want)
				}
			})
		})
	}
}

// strictProxy starts a server that behaves like an API server behind a proxy
// that records sessions. It first sends an empty message on stdout. It counts
// the messages that consist only of the number of the stdout channel, and ends
// the session when it receives any other message.
func strictProxy(t *testing.T, messages *atomic.Int32) *Dialer {
	return serveExec(t, func(r serverConn) {
		r.send(chStdout, "")
		output := byte(chStdout)
		if r.text() {
			output += '0'
		}
		for {
			_, message, err := r.Read(context.Background())
			switch {
			case err != nil:
				return
			case len(message) != 1 || message[0] != output:
				_ = r.Close(websocket.StatusPolicyViolation, fmt.Sprintf("unexpected message %q", message))
				return
			}
			messages.Add(1)
		}
	})
}

// A ping to a server that has sent everything and closed the connection
// destroys the data in transit. So no ping is sent while output arrives, not
// even to find out whether the server has taken the stdin.
func TestKeepalive_NoPingDuringOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pings atomic.Int32
		d := serve(t, func(w http.ResponseWriter, req *http.Request) {
			ws, err := websocket.Accept(w, req, &websocket.AcceptOptions{
				Subprotocols: Protocols(), OnPingReceived: func(context.Context, []byte) bool { pings.Add(1); return true },
			})
			if err != nil {
				t.Error(err)
				return
			}
			answersPings(func(r serverConn) {
				for start := time.Now(); time.Since(start) < 2*time.Minute; time.Sleep(300 * time.Millisecond) {
					r.send(chStdout, "x")
				}
			})(serverConn{ws, t})
		})
		s, _ := pingingSession(d, Settings{Stdin: &pausingStdin{size: 10}})
		if err := s.Run(t.Context()); err != nil || pings.Load() > 0 {
			t.Errorf("error %v, %d pings", err, pings.Load())
		}
	})
}

// A dead link is detected even after much stdin was sent, because a ping has
// shown that the server has taken the stdin. That ping is sent in a lull of the
// output, or after 5 minutes without a lull.
func TestDeadLink_AfterMuchInput(t *testing.T) {
	for name, c := range map[string]struct{ every, talk time.Duration }{
		"lulls":    {1100 * time.Millisecond, time.Minute},
		"no lulls": {200 * time.Millisecond, pingAnyway + 2*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.talk+2*time.Minute)
				defer cancel()
				times := int(c.talk / c.every)
				d := serveExec(t, func(r serverConn) {
					for range times {
						_, _, _ = r.receive()
						r.send(chStdout, "x")
					}
					<-t.Context().Done()
				})
				s, _ := pingingSession(d, Settings{Stdin: &typedStdin{every: c.every, times: times}})
				start := time.Now()
				if err := s.Run(ctx); !errors.Is(err, errDead) {
					t.Errorf("error %v after %v", err, time.Since(start))
				}
			})
		})
	}
}

// typedStdin is a stdin whose Read waits for the duration every, and then
// returns 200 bytes. After the number of calls in the field times, Read waits
// for an hour, and then returns io.EOF.
type typedStdin struct {
	every time.Duration
	times int
}

func (s *typedStdin) Read(p []byte) (int, error) {
	if s.times--; s.times < 0 {
		time.Sleep(time.Hour)
		return 0, io.EOF
	}
	time.Sleep(s.every)
	return min(len(p), 200), nil
}

// livenessTest calls check once for each second with the result of state, and
// returns the number of pings that were due.
func livenessTest(t *testing.T, l *liveness, seconds int, state func(second int) linkState) (pings int) {
	t.Helper()
	now := l.checked
	for i := 1; i <= seconds; i++ {
		now = now.Add(checkEvery)
		l.check(now, state(i))
		if l.pingDue {
			l.pingDue = false
			pings++
		}
	}
	return pings
}

// silentFor returns a function for livenessTest: the states of a link on which
// nothing arrives.
func silentFor(sent int64, writing bool) func(int) linkState {
	return func(second int) linkState {
		return linkState{silence: time.Duration(second) * time.Second, sent: sent, writing: writing}
	}
}

func TestLiveness_Limits(t *testing.T) {
	for _, c := range []struct {
		name      string
		keepalive time.Duration
		seconds   int
		state     func(int) linkState
		pings     int
		dead      bool
		reports   int
	}{
		{"before the ping", 10 * time.Second, 7, silentFor(0, false), 0, false, 0},
		{"the ping", 10 * time.Second, 8, silentFor(0, false), 1, false, 0},
		{"before quiet", 10 * time.Second, 12, silentFor(0, false), 1, false, 0},
		{"quiet", 10 * time.Second, 13, silentFor(0, false), 1, false, 1},
		{"before dead", 10 * time.Second, 19, silentFor(0, false), 1, false, 7},
		{"dead", 10 * time.Second, 20, silentFor(0, false), 1, true, 8},
		{"a late ping, before dead", time.Minute, 67, silentFor(0, false), 1, false, 5},
		{"a late ping, dead", time.Minute, 68, silentFor(0, false), 1, true, 6},
		{"an early ping does not shorten it", time.Second, 19, silentFor(0, false), 1, false, 14},
		{"the line buffer may be full", 10 * time.Second, 20, silentFor(lineBuffer, false), 1, true, 8},
		{"more than the line buffer", 10 * time.Second, 100, silentFor(lineBuffer+1, false), 1, false, 0},
		{"a blocked write", 10 * time.Second, 100, silentFor(0, true), 1, false, 0},
		{"a paused reader", 10 * time.Second, 100, func(int) linkState { return linkState{} }, 0, false, 0},
		{"less than a lull", time.Second, 100, func(int) linkState { return linkState{silence: lull - 1} }, 0, false, 0},
		{"a lull", time.Second, 1, func(int) linkState { return linkState{silence: lull} }, 1, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLiveness(c.keepalive, time.Now())
			pings := livenessTest(t, l, c.seconds, c.state)
			if pings != c.pings || l.dead != c.dead || len(l.reports) != c.reports {
				t.Errorf("%d pings, dead %v, %d reports; want %d, %v, %d",
					pings, l.dead, len(l.reports), c.pings, c.dead, c.reports)
			}
		})
	}
}

func TestLiveness_Reports(t *testing.T) {
	l := newLiveness(10*time.Second, time.Now())
	livenessTest(t, l, 14, silentFor(0, false))
	l.check(l.checked.Add(checkEvery), linkState{silence: checkEvery / 2})
	livenessTest(t, l, 3, func(int) linkState { return linkState{silence: checkEvery / 2} })
	if diff := cmp.Diff([]time.Duration{5 * time.Second, 6 * time.Second, 0}, l.reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

func TestLiveness_AnswerEndsReports(t *testing.T) {
	l := newLiveness(10*time.Second, time.Now())
	livenessTest(t, l, 13, silentFor(7, false))
	l.answered(true)
	if diff := cmp.Diff([]time.Duration{5 * time.Second, 0}, l.reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	if l.taken != 7 || l.inFlight || !l.awaiting.IsZero() {
		t.Errorf("after an answer: %+v", l)
	}
}

// Output does not show that the server has taken earlier stdin: the server may
// still be blocked by that stdin.
func TestLiveness_OutputOfBlockedServer(t *testing.T) {
	l := newLiveness(10*time.Second, time.Now())
	livenessTest(t, l, 9, silentFor(64<<10, false))
	l.check(l.checked.Add(checkEvery), linkState{silence: checkEvery / 2, sent: 64 << 10})
	if l.dead || l.taken != 0 || !l.awaiting.IsZero() {
		t.Errorf("after output: %+v", l)
	}
	if pings := livenessTest(t, l, 100, silentFor(64<<10, false)); pings > 0 || l.dead || l.awaiting.IsZero() {
		t.Errorf("%d more pings while one is in flight; %+v", pings, l)
	}
}

// A ping that could not be sent shows nothing about the server, and is
// repeated.
func TestLiveness_PingFails(t *testing.T) {
	l := newLiveness(10*time.Second, time.Now())
	livenessTest(t, l, 8, silentFor(5, false))
	l.answered(false)
	if l.taken != 0 || len(l.reports) > 0 {
		t.Errorf("after a failure: %+v", l)
	}
	silent9 := func(int) linkState { return linkState{silence: 9 * time.Second} }
	if pings := livenessTest(t, l, 1, silent9); pings != 1 || l.dead {
		t.Errorf("%d more pings, dead %v", pings, l.dead)
	}
	livenessTest(t, l, 5, func(int) linkState { return linkState{silence: 14 * time.Second} })
	l.answered(false)
	if l.awaiting.IsZero() {
		t.Error("a failed ping ends the report that the answer is overdue")
	}
}

func TestLiveness_AfterSleep(t *testing.T) {
	for _, pinged := range []bool{false, true} {
		t.Run(fmt.Sprint("pinged ", pinged), func(t *testing.T) {
			l := newLiveness(10*time.Second, time.Now())
			before := 5
			if pinged {
				before = 12
			}
			livenessTest(t, l, before, silentFor(0, false))
			silence := time.Hour
			l.check(l.checked.Add(silence), linkState{silence: silence})
			if l.dead || l.pingDue || len(l.reports) > 0 {
				t.Fatalf("at once: %+v", l)
			}
			state := func(second int) linkState {
				return linkState{silence: silence + time.Duration(second)*time.Second}
			}
			livenessTest(t, l, 19, state)
			if l.dead || len(l.reports) == 0 {
				t.Errorf("19 s later: dead %v, reports %v", l.dead, l.reports)
			}
			livenessTest(t, l, 1, func(int) linkState { return state(20) })
			if !l.dead {
				t.Error("not dead after 20 s of silence")
			}
		})
	}
}

// Three times checkEvery without a check does not count as sleep: the machine
// may be busy.
func TestLiveness_LateChecks(t *testing.T) {
	l := newLiveness(10*time.Second, time.Now())
	now := l.checked
	for i := 1; i <= 7; i++ {
		now = now.Add(3 * checkEvery)
		l.check(now, linkState{silence: time.Duration(i) * 3 * checkEvery})
	}
	if !l.dead {
		t.Error("not dead")
	}
}

func TestLiveness_PingsAfterStdin(t *testing.T) {
	for _, c := range []struct {
		name    string
		silence time.Duration
		seconds int
		sent    int64
		pings   int
	}{
		{"a lull, before the keepalive", lull, 9, 1, 0},
		{"a lull", lull, 10, 1, 1},
		{"no stdin", lull, 1000, 0, 0},
		{"no lull", lull - 1, 299, 1, 0},
		{"no lull for long", lull - 1, 300, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLiveness(10*time.Second, time.Now())
			state := func(int) linkState { return linkState{silence: c.silence, sent: c.sent} }
			if pings := livenessTest(t, l, c.seconds, state); pings != c.pings {
				t.Errorf("%d pings, want %d", pings, c.pings)
			}
		})
	}
	l := newLiveness(10*time.Second, time.Now())
	state := func(int) linkState { return linkState{silence: lull, sent: 9} }
	livenessTest(t, l, 10, state)
	l.answered(true)
	if pings := livenessTest(t, l, 100, state); pings > 0 {
		t.Errorf("%d pings for stdin that is known to be taken", pings)
	}
}

// liveness.run pings, reports that the answer is overdue, and drops the
// connection.
func TestLiveness_ServerStopsAnswering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, err := rawServer(t, func(net.Conn) { <-t.Context().Done() }).dialFunc(V5)(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.end()
		start := time.Now()
		var pings group.Group
		var reports []time.Duration
		conn.onStart(signOutput, func() {})
		pings.Go(func() { _, _ = conn.waitForStart(t.Context()) }) // silence counts only during a Read
		report := func(e Overdue) { reports = append(reports, e.For) }
		newLiveness(10*time.Second, start).run(t.Context(), conn, &pings, report)
		pings.Wait()
		if took := time.Since(start); took != deadAfter {
			t.Errorf("dead after %v, want %v", took, deadAfter)
		}
		if len(reports) == 0 || reports[0] != quietAfter {
			t.Errorf("reports %v, want the first after %v", reports, quietAfter)
		}
		if reason := conn.fatal.Load(); reason == nil || !errors.Is(*reason, errDead) {
			t.Errorf("the connection was dropped because of %v", reason)
		}
	})
}
