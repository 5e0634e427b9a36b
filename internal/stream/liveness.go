package stream

import (
	"context"
	"errors"
	"time"

	"kshell/internal/group"
)

// The time limits of a link. A link is quiet if the answer to a ping has been
// overdue for quietAfter. It is dead if the answer has been overdue for
// answerWithin and nothing has arrived for deadAfter.
const (
	quietAfter   = 5 * time.Second
	deadAfter    = 20 * time.Second
	answerWithin = 10 * time.Second
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

// errDead is the reason for the loss of a dead link.
var errDead = errors.New("the server does not answer any more")

// run pings the server when a ping is due, calls report for each Overdue event,
// and drops conn when the link is dead. It returns when ctx ends or after it
// has dropped conn. It sends pings from goroutines in the group pings.
func (l *liveness) run(ctx context.Context, conn *Conn, pings *group.Group, report func(overdue time.Duration)) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	answers := make(chan bool, 1)
	for {
		select {
		case <-ctx.Done():
			return
		case ok := <-answers:
			l.answered(ok)
		case now := <-ticker.C:
			l.check(now, conn.state())
		}
		for _, overdue := range l.reports {
			report(overdue)
		}
		l.reports = l.reports[:0]
		switch {
		case l.dead:
			conn.Drop(errDead)
			return
		case l.pingDue:
			l.pingDue = false
			pings.Go(func() { answers <- conn.ping(ctx) })
		}
	}
}

// keepFromIdling sends a message without a payload every idleEvery, so that the servers'
// idle timer does not end an idle session.
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
}

// liveness decides when to ping the server, when to tell the user that the
// server is silent, and when the link is dead. Except for run, it has no clock
// and does no I/O: run calls the method check at intervals of checkEvery, and
// the method answered when a ping was answered or could not be sent.
//
// Silence does not count while the reader is paused, while the server may be
// blocked by a remote process that does not read its stdin, and while the
// machine was asleep.
type liveness struct {
	keepalive time.Duration

	// The results of check and answered. The caller acts on them and clears
	// them.
	pingDue bool            // a ping is to be sent
	dead    bool            // the link is dead
	reports []time.Duration // for the observer: see Overdue

	checked  time.Time // the last check
	awake    time.Time // silence before this time does not count
	awaiting time.Time // since when an answer is expected; zero if none is
	quiet    bool      // the last report was that an answer is overdue

	pinged   time.Time // when the last ping was sent
	inFlight bool      // the last ping was not answered yet and has not failed
	sentThen int64     // bytes of stdin that were sent before the last ping
	taken    int64     // bytes of stdin that were sent before the last answered ping, so the server has taken them
}

func newLiveness(keepalive time.Duration, now time.Time) *liveness {
	return &liveness{keepalive: keepalive, checked: now, awake: now, pinged: now}
}

// check updates the results for the state s of the link.
func (l *liveness) check(now time.Time, s linkState) {
	asleep := now.Sub(l.checked) > 3*checkEvery
	l.checked = now
	switch {
	case asleep:
		l.awake = now
		if !l.awaiting.IsZero() {
			l.awaiting = now
		}
	case !l.awaiting.IsZero() && s.silence < now.Sub(l.awaiting):
		l.arrived()
	case !l.awaiting.IsZero():
		l.overdue(now.Sub(l.awaiting), min(s.silence, now.Sub(l.awake)), s)
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

// overdue decides whether the link is dead, and whether to report that an
// answer is overdue. d is how long an answer has been overdue, and silence is
// the part of the silence that counts.
func (l *liveness) overdue(d, silence time.Duration, s linkState) {
	if s.sent-l.taken > lineBuffer || s.writing {
		return // the server may be blocked
	}
	l.dead = silence >= deadAfter && d >= answerWithin
	if d >= quietAfter {
		l.quiet = true
		l.reports = append(l.reports, d)
	}
}

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
	if l.quiet {
		l.quiet = false
		l.reports = append(l.reports, 0)
	}
}
