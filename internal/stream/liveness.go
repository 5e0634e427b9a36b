package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kshell/internal/group"
)

// MaxOutage is how long a connection is kept without receiving a byte while the
// network is out.
const MaxOutage = 120 * time.Second

// The time limits of a link. A link is quiet if the answer to a ping has been
// overdue for quietAfter. It is silent if the answer has been overdue for
// answerWithin and nothing has arrived for deadAfter.
//
// A silent link is dead if the server answers probes, which use new connections
// (see prober). If the server does not answer probes either, the network is
// out, and the link is dead only after MaxOutage without a byte, because TCP
// delivers data that was sent during an outage when the outage has ended.
const (
	quietAfter   = 5 * time.Second
	deadAfter    = 20 * time.Second
	answerWithin = 10 * time.Second
	// probeAfter is how long the answer to a ping must be overdue before the
	// server is probed. TCP doubles the interval between retransmissions, so
	// after an outage, a link can be silent for as long as the outage lasted. A
	// probe must therefore detect every outage that lasts about half of deadAfter
	// or longer.
	probeAfter = 2 * time.Second
	// slowProbe is the time after which TCP retransmits the first packet of a new
	// connection. If the first probe takes at least that long, the network was
	// probably out when the probe began.
	slowProbe = time.Second
	// checkProbe is the interval between the starts of two probes while probes are
	// answered. Otherwise the interval is probeEvery.
	checkProbe = 5 * time.Second
	// ackWithin and probeUnacked apply if the server may be blocked by stdin. A
	// link to such a server is silent if TCP has received no acknowledgement for
	// ackWithin. The server is probed after probeUnacked.
	ackWithin    = 30 * time.Second
	probeUnacked = 10 * time.Second
	// minGrace and maxGrace limit the grace period after an outage, during which
	// the link is not dead. Within these limits, the grace period is as long as
	// the outage.
	minGrace = 10 * time.Second
	maxGrace = 30 * time.Second
	// moreGrace is the longest extension of the grace period. The grace period is
	// extended if the kernel reports that TCP has not retransmitted its packets
	// since the outage. It then ends resendGrace after the retransmission.
	moreGrace   = 60 * time.Second
	resendGrace = 5 * time.Second
	// checkEvery is the interval between checks of a link. If the last check
	// was more than three intervals ago, the machine was asleep or the process
	// was stopped.
	checkEvery = time.Second
	// pingMargin is how long before the end of Settings.Keepalive a ping is
	// sent. The margin is needed because the idle timeout of a load balancer is
	// often the same round number as the Keepalive.
	pingMargin = 2 * checkEvery
	// lull is the minimum silence before a ping is sent, so that no data is in
	// transit. Otherwise the data could be lost: a server that has sent
	// everything and closed the connection answers a ping with an RST, which
	// destroys the data in transit.
	lull = 500 * time.Millisecond
	// pingAnyway is how long after the last ping another one is sent even
	// without a lull, because only the answer to a ping shows that the server
	// has taken the stdin; see liveness.learns.
	pingAnyway = 5 * time.Minute
	// lineBuffer is the size of the kernel's line buffer, in bytes: the amount
	// of stdin that a server can write to a terminal that is not read. With
	// more unread stdin, the server may be blocked, and a blocked server does
	// not answer pings.
	lineBuffer = 4 << 10
	// idleEvery is the interval between calls of Conn.resetIdleTimer. The remote
	// process does not see these messages, but they reset the servers' idle
	// timer of 4 hours. Pings do not reset it (measured on Kubernetes 1.37).
	idleEvery = 15 * time.Minute
)

// The reasons for the loss of a dead link.
var (
	errDead       = errors.New("the server does not answer any more")
	errNetworkOut = fmt.Errorf("the network was out for %.0f s", MaxOutage.Seconds())
)

// run pings the server when a ping is due, probes it when a probe is due, calls
// report for each Overdue event, and drops conn when the link is dead. It
// returns when ctx ends or after it has dropped conn. It sends pings and probes
// from goroutines in the group requests.
func (l *liveness) run(ctx context.Context, conn *Conn, requests *group.Group, report func(Overdue)) {
	l.probes = conn.prober != nil
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	answers := make(chan bool, 1)
	results := make(chan probeResult, 1)
	for {
		select {
		case <-ctx.Done():
			return
		case ok := <-answers:
			l.answered(ok)
		case r := <-results:
			l.probed(time.Now(), r)
		case now := <-ticker.C:
			l.check(now, conn.state())
		}
		for _, overdue := range l.reports {
			report(Overdue{For: overdue, NetworkOut: l.networkOut})
		}
		l.reports = l.reports[:0]
		if l.dead {
			conn.Drop(l.reason())
			return
		}
		if l.pingDue {
			l.pingDue = false
			requests.Go(func() { answers <- conn.ping(ctx) })
		}
		if l.probeDue {
			l.probeDue = false
			requests.Go(func() { results <- conn.prober.probe(ctx) })
		}
	}
}

// keepFromIdling calls Conn.resetIdleTimer every idleEvery, so that the
// servers' idle timer does not end an idle session.
func keepFromIdling(ctx context.Context, conn *Conn) {
	ticker := time.NewTicker(idleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			conn.resetIdleTimer()
		}
	}
}

// linkState is the state of a link at a check.
type linkState struct {
	silence time.Duration // how long the reader has waited without receiving bytes; 0 while it does not wait
	sent    int64         // bytes of stdin that were sent
	writing bool          // a write has not returned
	tcp     tcpState
	// unchecked means that the last checksInVain calls of CheckStuck got no
	// answer.
	unchecked bool
}

// mayBeBlocked reports whether the server may be blocked by stdin. taken is the
// number of bytes of stdin that the server is known to have read.
func (s *linkState) mayBeBlocked(taken int64) bool { return s.sent-taken > lineBuffer || s.writing }

// liveness decides when to ping and to probe the server, when to tell the user
// that the server is silent, and when the link is dead. Except for run, it has
// no clock and does no I/O: run calls the method check at intervals of
// checkEvery, the method answered when a ping was answered or could not be sent,
// and the method probed when a probe has ended.
//
// Silence does not count while the reader is paused, and while the machine was
// asleep. While the server may be blocked by a remote process that does not read
// its stdin, the server may be silent on a link that works:
//
//   - If the local kernel reports acknowledgements (on Linux), the link is
//     silent if TCP receives no acknowledgement for ackWithin. The kernel of a
//     blocked server still acknowledges TCP's window probes.
//   - If the local kernel does not report acknowledgements, or if the last
//     calls of CheckStuck got no answer, the link is dead only if the network
//     is out for MaxOutage. A server that answers probes may still be blocked.
type liveness struct {
	keepalive time.Duration
	probes    bool // the server can be probed; otherwise a silent link is dead

	// The results of check, answered and probed. The caller acts on them and
	// clears them.
	pingDue  bool            // a ping is to be sent
	probeDue bool            // a probe is to be made
	dead     bool            // the link is dead
	reports  []time.Duration // for the observer: see Overdue

	checked  time.Time // the last check
	awake    time.Time // silence before this time does not count
	awaiting time.Time // since when an answer is expected; zero if none is
	unacked  time.Time // since when each check has found unacknowledged packets; zero if the last one found none
	quiet    bool      // the last report was that an answer is overdue
	blocked  bool      // the last report was of a link whose server may be blocked by stdin

	pinged   time.Time // when the last ping was sent
	inFlight bool      // the last ping was not answered yet and has not failed
	sentThen int64     // bytes of stdin that were sent before the last ping
	taken    int64     // bytes of stdin that were sent before the last answered ping, so the server has taken them

	probing bool      // a probe is in progress
	begun   time.Time // when the last probe began

	// The following describe the current silence.
	since      time.Time // when it began
	networkOut bool      // the last probe was not answered
	reachable  bool      // the last probe was answered
	graceEnd   time.Time // until when the link is not dead, after an outage
	resends    uint32    // tcpState.resends at the end of the outage
	resentAt   time.Time // when a check found that TCP has retransmitted since the outage; zero before that
	tcp        tcpState  // at the last check
}

func newLiveness(keepalive time.Duration, now time.Time) *liveness {
	return &liveness{keepalive: keepalive, checked: now, awake: now, pinged: now}
}

// check updates the results for the state s of the link.
func (l *liveness) check(now time.Time, s linkState) {
	asleep := now.Sub(l.checked) > 3*checkEvery
	l.checked = now
	l.tcp = s.tcp
	if l.resentAt.IsZero() && s.tcp.resends != l.resends {
		l.resentAt = now
	}
	if !s.tcp.unacked {
		l.unacked = time.Time{}
	} else if l.unacked.IsZero() || asleep {
		l.unacked = now
	}
	switch {
	case asleep:
		l.awake = now
		l.forgetProbes()
		if !l.awaiting.IsZero() {
			l.awaiting = now
		}
	case !l.awaiting.IsZero() && s.silence < now.Sub(l.awaiting):
		l.arrived()
	case !l.awaiting.IsZero():
		l.overdue(now, s)
	case l.blocked, s.mayBeBlocked(l.taken) && l.unackedFor(now, s) >= probeUnacked:
		l.blockedOverdue(now, s) // over SPDY, which has no pings, or after a report of blockedOverdue
	case s.silence >= max(l.keepalive-pingMargin, lull):
		l.awaiting = now
		l.ping(now, s)
	case s.sent > l.taken && l.learns(now.Sub(l.pinged), s.silence):
		l.ping(now, s)
	}
}

// learns reports whether it is time for a ping to find out whether the server
// has taken the stdin that was sent. Output is no proof of that: a server may
// send output while it is blocked by stdin.
func (l *liveness) learns(sincePing, silence time.Duration) bool {
	return sincePing >= l.keepalive && (silence >= lull || sincePing >= pingAnyway)
}

// ping sets pingDue, unless a ping is in flight: the answer to that ping is
// sufficient.
func (l *liveness) ping(now time.Time, s linkState) {
	if !l.inFlight {
		l.pinged, l.sentThen, l.inFlight, l.pingDue = now, s.sent, true, true
	}
}

// overdue decides whether to probe the server, whether the link is dead, and
// whether to report that an answer is overdue.
func (l *liveness) overdue(now time.Time, s linkState) {
	if s.mayBeBlocked(l.taken) {
		l.blockedOverdue(now, s)
		return
	}
	d := now.Sub(l.awaiting)                    // how long the answer has been overdue
	silence := min(s.silence, now.Sub(l.awake)) // the part of the silence that counts
	l.since = now.Add(-silence)
	if d >= probeAfter {
		l.probe(now)
	}
	l.dead = silence >= deadAfter && d >= answerWithin && l.isLost(now)
	if d >= quietAfter {
		l.report(d)
	}
}

// blockedOverdue is like overdue, for a link whose server may be blocked by
// stdin.
func (l *liveness) blockedOverdue(now time.Time, s linkState) {
	silence := min(s.silence, now.Sub(l.awake))
	byAcks := s.tcp.known && !s.unchecked
	suspect := ackWithin
	if byAcks {
		silence, suspect = min(silence, l.unackedFor(now, s)), probeUnacked
	}
	l.since = now.Add(-silence)
	if silence >= suspect {
		l.probe(now)
	}
	switch {
	case silence >= suspect && (byAcks || l.networkOut):
		l.dead = silence >= ackWithin && l.isLost(now)
		l.report(silence)
		l.blocked = true
	case l.blocked: // the network works again, and the server may be blocked
		l.forgetProbes()
		l.endQuiet()
	}
}

// unackedFor returns how long TCP has been waiting for an acknowledgement of
// packets, or 0 if it is not waiting for one.
func (l *liveness) unackedFor(now time.Time, s linkState) time.Duration {
	if l.unacked.IsZero() {
		return 0
	}
	return min(now.Sub(l.unacked), s.tcp.sinceAck)
}

// report reports how long an answer has been overdue.
func (l *liveness) report(d time.Duration) {
	l.quiet = true
	l.reports = append(l.reports, d)
}

// isLost reports whether a silent link is dead.
func (l *liveness) isLost(now time.Time) bool {
	switch {
	case !l.probes:
		return true
	case l.networkOut:
		return now.Sub(l.since) >= MaxOutage
	}
	return l.reachable && !now.Before(l.graceEnd) && !l.resendDue(now)
}

// resendDue reports whether the grace period after an outage is extended: TCP
// has not retransmitted its packets since the outage, or has done so less than
// resendGrace ago.
func (l *liveness) resendDue(now time.Time) bool {
	if l.graceEnd.IsZero() || !l.tcp.unacked || now.Sub(l.graceEnd) >= moreGrace {
		return false
	}
	return l.resentAt.IsZero() || now.Sub(l.resentAt) < resendGrace
}

// reason returns the reason for the loss of a dead link.
func (l *liveness) reason() error {
	if l.networkOut {
		return errNetworkOut
	}
	return errDead
}

// probe sets probeDue, unless a probe is in progress or the next one is not due
// yet.
func (l *liveness) probe(now time.Time) {
	interval := probeEvery
	if l.reachable {
		interval = checkProbe
	}
	if l.probes && !l.probing && now.Sub(l.begun) >= interval {
		l.begun, l.probing, l.probeDue = now, true, true
	}
}

// probed processes the result of a probe.
func (l *liveness) probed(now time.Time, r probeResult) {
	l.probing = false
	if l.awaiting.IsZero() && !l.blocked {
		return // something has arrived on the link
	}
	first := !l.networkOut && !l.reachable
	if r.answered && (l.networkOut || first && r.took >= slowProbe) {
		grace := min(max(now.Sub(l.since), minGrace), maxGrace)
		l.graceEnd = now.Add(grace)
		if last := l.since.Add(MaxOutage + maxGrace); l.graceEnd.After(last) {
			l.graceEnd = last // otherwise, repeated outages would keep a dead link without a limit
		}
		l.resends, l.resentAt = l.tcp.resends, time.Time{}
	}
	l.networkOut, l.reachable = !r.answered, r.answered
}

// forgetProbes discards the results of the probes.
func (l *liveness) forgetProbes() { l.networkOut, l.reachable, l.graceEnd = false, false, time.Time{} }

// answered processes the result of the ping in flight. ok is false if the ping
// could not be sent, which shows nothing about the server.
func (l *liveness) answered(ok bool) {
	l.inFlight = false
	switch {
	case ok:
		l.taken = l.sentThen
		l.arrived()
	case !l.quiet:
		l.awaiting = time.Time{}
	}
}

// arrived records that something has arrived from the server.
func (l *liveness) arrived() {
	l.awaiting = time.Time{}
	l.forgetProbes()
	l.endQuiet()
}

// endQuiet reports that the server answers again, if the last report was that
// an answer is overdue.
func (l *liveness) endQuiet() {
	if l.quiet {
		l.quiet, l.blocked = false, false
		l.reports = append(l.reports, 0)
	}
}
