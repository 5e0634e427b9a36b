package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// probedTest is a silent link whose server can be probed. From outBegin to
// outEnd, in seconds, the server does not answer probes. A probe that begins in
// that time ends at outEnd, or after 5 s if that is earlier.
type probedTest struct {
	*liveness
	outBegin, outEnd float64
	begun            float64 // when the probe in progress began, in seconds; negative: none
	seen             string  // the probes and reports
}

func newProbedTest(outBegin, outEnd float64) *probedTest {
	l := newLiveness(10*time.Second, time.Now())
	l.probes = true
	return &probedTest{liveness: l, outBegin: outBegin, outEnd: outEnd, begun: -1}
}

// run runs the link in steps of a second, until it is dead or the limit, in
// seconds, has passed. It returns the second at which the link was dead, or 0.
func (p *probedTest) run(limit int, state func(int) linkState) int {
	start := p.checked
	for i := 1; i <= limit; i++ {
		now := start.Add(time.Duration(i) * time.Second)
		p.endProbe(start, float64(i))
		p.check(now, state(i))
		p.pingDue = false
		if p.probeDue {
			p.probeDue, p.begun = false, float64(i)
			p.endProbe(start, float64(i)+0.1)
		}
		if p.dead {
			return i
		}
	}
	return 0
}

// endProbe ends the probe in progress, if it ends before now.
func (p *probedTest) endProbe(start time.Time, now float64) {
	end, answered := p.begun, true
	if p.begun >= p.outBegin && p.begun < p.outEnd {
		end = min(p.outEnd, p.begun+probeWithin.Seconds())
		answered = p.outEnd < p.begun+probeWithin.Seconds()
	}
	if p.begun >= 0 && end <= now {
		seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
		p.probed(start.Add(seconds(end)), probeResult{answered, seconds(end - p.begun)})
		p.seen += fmt.Sprintf("%.0f:%v ", p.begun, answered)
		p.begun = -1
	}
}

// After an outage, the link gets as long as the outage has lasted, between
// minGrace and maxGrace. If the outage does not end, the link is dead after
// MaxOutage.
func TestLiveness_Outage(t *testing.T) {
	for _, c := range []struct {
		name             string
		outBegin, outEnd float64
		dead             int // in seconds
	}{
		{"the server answers", 0, 0, 20},
		{"the outage ends before the first probe", 0, 9.5, 20},
		{"the outage ends during the first probe", 0, 11.5, 11 + 12},
		{"15 s", 0, 15.5, 15 + 16},
		{"25 s", 0, 25.5, 25 + 26},
		{"40 s", 0, 40.5, 40 + 31},
		{"110 s", 0, 110.5, 110 + 31},
		{"no end", 0, 1000, 120},
		{"it begins after the first probe", 14.5, 60.5, 60 + 31},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProbedTest(c.outBegin, c.outEnd)
			if dead := p.run(200, silentFor(0, false)); dead != c.dead {
				t.Errorf("dead after %d s, want %d s; probes: %s", dead, c.dead, p.seen)
			}
			if got, want := errors.Is(p.reason(), errNetworkOut), c.outEnd == 1000; got != want {
				t.Errorf("the reason is %v", p.reason())
			}
		})
	}
}

// Repeated outages do not keep a link for longer than MaxOutage + maxGrace.
func TestLiveness_RepeatedOutages(t *testing.T) {
	p := newProbedTest(0, 0)
	start := p.checked
	for i := 1; i < 300 && !p.dead; i++ {
		now := start.Add(time.Duration(i) * time.Second)
		p.check(now, silentFor(0, false)(i))
		if p.probeDue {
			p.probeDue = false
			p.probed(now, probeResult{answered: i/10%2 == 0})
		}
	}
	if took := p.checked.Sub(start); !p.dead || took > MaxOutage+maxGrace {
		t.Errorf("dead %v after %v", p.dead, took)
	}
}

// Bytes that arrive on the link end an outage.
func TestLiveness_ArrivalEndsOutage(t *testing.T) {
	p := newProbedTest(0, 1000)
	if p.run(60, silentFor(0, false)); !p.networkOut {
		t.Fatal("no outage")
	}
	p.probed(p.checked, probeResult{answered: true})
	p.check(p.checked.Add(time.Second), linkState{silence: time.Second / 2})
	if p.networkOut || p.reachable || !p.graceEnd.IsZero() || p.reports[len(p.reports)-1] != 0 {
		t.Errorf("after an arrival: %+v", p.liveness)
	}
	p.outEnd = 0
	if dead := p.run(60, silentFor(0, false)); dead != 20 {
		t.Errorf("the next silence: dead after %d s", dead)
	}
}

// The time that the machine was asleep does not count as an outage.
func TestLiveness_SleepDuringOutage(t *testing.T) {
	p := newProbedTest(0, 1000)
	p.run(60, silentFor(0, false))
	p.check(p.checked.Add(time.Hour), linkState{silence: time.Hour})
	if p.dead || p.networkOut {
		t.Errorf("after an hour: %+v", p.liveness)
	}
	p.outBegin, p.outEnd, p.begun = 0, 0, -1
	p.probed(p.checked, probeResult{answered: false, took: time.Hour})
	asleep := func(second int) linkState { return linkState{silence: time.Hour + time.Duration(second)*time.Second} }
	if dead := p.run(100, asleep); dead < 20 || dead > 40 {
		t.Errorf("dead %d s after the sleep", dead)
	}
}

// A session reports that the network is out, and keeps its connection. It ends
// when the server answers on a new connection but not on the old one.
func TestDeadLink_NetworkOut(t *testing.T) {
	for name, c := range map[string]struct {
		lasts        time.Duration
		from, within time.Duration // when the session ends
		reason       error
	}{
		"half-open link": {0, deadAfter, 25 * time.Second, errDead},
		"40 s":           {40 * time.Second, 70 * time.Second, 75 * time.Second, errDead},
		"no end":         {time.Hour, MaxOutage, MaxOutage + 2*time.Second, errNetworkOut},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var probes atomic.Int32
				start := time.Now()
				d := rawServer(t, func(net.Conn) { <-t.Context().Done() })
				cfg := serveConfig(t, func(_ http.ResponseWriter, r *http.Request) {
					probes.Add(1)
					if time.Since(start) < c.lasts {
						<-r.Context().Done()
					}
				})
				p, err := newProber(cfg)
				if err != nil {
					t.Fatal(err)
				}
				out := 0
				driver := &testDriver{dial: func(ctx context.Context) (*Conn, error) {
					conn, err := d.dialFunc(V5)(ctx)
					conn.prober = p
					return conn, err
				}}
				s := NewSession(driver, on(func(e Overdue) {
					if e.NetworkOut {
						out++
					}
				}), Settings{LinkSettings: noReconnect, Keepalive: 10 * time.Second})
				err = s.Run(t.Context())
				if took := time.Since(start); !errors.Is(err, c.reason) || took < c.from || took > c.within {
					t.Errorf("%v after %v", err, took)
				}
				if (out > 0) != (c.lasts > 0) || !strings.HasPrefix(fmt.Sprint(err), "connection lost: the ") {
					t.Errorf("%d reports that the network is out; %v", out, err)
				}
				if n := probes.Load(); n < 2 || time.Duration(n)*probeEvery > c.within {
					t.Errorf("%d probes", n)
				}
			})
		})
	}
}

// While the server may be blocked by stdin, only missing acknowledgements and
// an outage of the network show that a link is dead.
func TestLiveness_Blocked(t *testing.T) {
	never, always := float64(0), float64(1000)
	acked := func(int) tcpState { return tcpState{known: true} }
	notAcked := func(second int) tcpState {
		sinceAck := time.Duration(second) * time.Second
		return tcpState{known: true, unacked: true, sinceAck: sinceAck, resends: uint32(second / 10)}
	}
	// The last acknowledgement was long before the packets were sent.
	idleBefore := func(second int) tcpState {
		return tcpState{known: true, unacked: second > 40, sinceAck: time.Duration(second) * time.Second}
	}
	ackedEvery25 := func(second int) tcpState {
		return tcpState{known: true, unacked: true, sinceAck: time.Duration(second%25) * time.Second}
	}
	unknown := func(int) tcpState { return tcpState{} }
	for _, c := range []struct {
		name      string
		tcp       func(int) tcpState
		unchecked bool
		outEnd    float64 // of an outage that begins at 0
		dead      int     // in seconds; 0: never
		reported  bool
	}{
		{"acknowledged", acked, false, never, 0, false},
		{"acknowledged, network out", acked, false, always, 0, false},
		{"acknowledged late", ackedEvery25, false, never, 0, true},
		{"not acknowledged", notAcked, false, never, 31, true},
		{"not acknowledged, idle before", idleBefore, false, never, 71, true},
		{"not acknowledged, network out", notAcked, false, always, 121, true},
		{"not acknowledged, network out for 25 s", notAcked, false, 25.5, 25 + 25, true},
		{"unknown", unknown, false, never, 0, false},
		{"unknown, network out", unknown, false, always, 120, true},
		{"unknown, network out for 50 s", unknown, false, 50.5, 0, true},
		{"acknowledged, not checked", acked, true, never, 0, false},
		{"acknowledged, not checked, network out", acked, true, always, 120, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProbedTest(0, c.outEnd)
			dead := p.run(300, func(second int) linkState {
				s := silentFor(64<<10, true)(second)
				s.tcp, s.unchecked = c.tcp(second), c.unchecked
				return s
			})
			if dead != c.dead || (len(p.reports) > 0) != c.reported {
				t.Errorf("dead after %d s, want %d s; reports %v; probes: %s", dead, c.dead, p.reports, p.seen)
			}
			if n := len(p.reports); c.dead == 0 && n > 0 && p.quiet != (p.reports[n-1] != 0) {
				t.Errorf("quiet %v, the last report is %v", p.quiet, p.reports[n-1])
			}
		})
	}
}

// Over SPDY, pings fail at once. Only missing acknowledgements show that a link
// is dead.
func TestLiveness_SPDY(t *testing.T) {
	for _, c := range []struct {
		name    string
		sent    int64
		unacked bool
		outEnd  float64
		dead    int // in seconds; 0: never
	}{
		{"acknowledged", 64 << 10, false, 0, 0},
		{"not acknowledged", 64 << 10, true, 0, 31},
		{"not acknowledged, network out", 64 << 10, true, 1000, 121},
		{"hardly any stdin", 10, true, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProbedTest(0, c.outEnd)
			dead := p.run(300, func(second int) linkState {
				if p.inFlight {
					p.answered(false)
				}
				s := silentFor(c.sent, false)(second)
				s.tcp = tcpState{known: true, unacked: c.unacked, sinceAck: s.silence}
				return s
			})
			if dead != c.dead {
				t.Errorf("dead after %d s, want %d s; reports %v; probes: %s", dead, c.dead, p.reports, p.seen)
			}
		})
	}
	t.Run("it answers again", func(t *testing.T) {
		p := newProbedTest(0, 1000)
		p.run(200, func(second int) linkState {
			if p.inFlight {
				p.answered(false)
			}
			s := silentFor(64<<10, false)(second)
			s.tcp = tcpState{known: true, unacked: second < 60, sinceAck: s.silence}
			if second >= 60 {
				s.silence = time.Second / 2
			}
			return s
		})
		if n := len(p.reports); p.dead || p.quiet || p.blocked || n == 0 || p.reports[n-1] != 0 {
			t.Errorf("dead %v, quiet %v, reports %v", p.dead, p.quiet, p.reports)
		}
	})
}

// After an outage, a link is not dead before TCP has sent its packets again, for
// up to moreGrace.
func TestLiveness_ResendAfterOutage(t *testing.T) {
	for _, c := range []struct{ resent, dead int }{ // in seconds
		{50, 71}, {79, 79 + 5}, {125, 125 + 5}, {500, 71 + 60},
	} {
		t.Run(fmt.Sprint(c.resent), func(t *testing.T) {
			p := newProbedTest(0, 40.5)
			dead := p.run(300, func(second int) linkState {
				s := silentFor(0, false)(second)
				s.tcp = tcpState{known: true, unacked: true, sinceAck: s.silence, resends: 7}
				if second >= c.resent {
					s.tcp.resends++
				}
				return s
			})
			if dead != c.dead {
				t.Errorf("dead after %d s, want %d s; probes: %s", dead, c.dead, p.seen)
			}
		})
	}
}

// wrappedConn is like the type with which client-go wraps connections if there
// is a credential plugin.
type wrappedConn struct {
	_ func()
	net.Conn
}

func TestUnwrapConn(t *testing.T) {
	tcp := &net.TCPConn{}
	for name, conn := range map[string]net.Conn{
		"TCP":     tcp,
		"wrapped": &wrappedConn{Conn: tcp},
		"TLS":     tls.Client(&wrappedConn{Conn: &wrappedConn{Conn: tcp}}, &tls.Config{}),
	} {
		if got := unwrapConn(conn); got != tcp {
			t.Errorf("%s: got %T", name, got)
		}
	}
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	if got := unwrapConn(pipe); got != pipe {
		t.Errorf("got %T, want a pipe", got)
	}
	empty := &wrappedConn{}
	if got := unwrapConn(empty); got != empty {
		t.Errorf("got %T, want the connection that wraps none", got)
	}
}

// With Keepalive 0, the server is not probed, and a silent link is not dead.
func TestKeepalive_Off(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, requests := testProber(t, func(http.ResponseWriter, *http.Request) {})
		d := rawServer(t, func(net.Conn) { <-t.Context().Done() })
		driver := &testDriver{dial: func(ctx context.Context) (*Conn, error) {
			conn, err := d.dialFunc(V5)(ctx)
			conn.prober = p
			return conn, err
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := NewSession(driver, nil, Settings{LinkSettings: noReconnect}).Run(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || requests.Load() > 0 {
			t.Errorf("%v, %d probes", err, requests.Load())
		}
	})
}

// All connections of a Transport share its prober.
func TestTransport_SharesProber(t *testing.T) {
	d := serveConfig(t, func(w http.ResponseWriter, req *http.Request) {
		ws, err := websocket.Accept(w, req, &websocket.AcceptOptions{Subprotocols: Protocols()})
		if err != nil {
			t.Error(err)
			return
		}
		serverConn{ws, t}.readAll()
	})
	transport, err := NewTransport(d, true, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		conn, err := transport.Dial(t.Context(), Request{Path: "/", Protocols: Protocols()})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.end()
		if conn.prober == nil || conn.prober != transport.prober {
			t.Error("the connection does not have the prober of the transport")
		}
	}
}
