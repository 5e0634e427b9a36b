package stream

import (
	"context"
	"errors"
	"time"

	"kshell/internal/group"
)

// The time limits of a link. It is quiet when an answer to a ping has been overdue for quietAfter, and dead when nothing has arrived for
// deadAfter while an answer has been overdue for answerWithin.
const (
	quietAfter   = 5 * time.Second
	deadAfter    = 20 * time.Second
	answerWithin = 10 * time.Second
	// checkEvery is how often a link is checked. If more than three times that has passed since the last check, the machine was asleep or
	// the process was stopped.
	checkEvery = time.Second
	// pingMargin is how long before the end of Session.Keepalive a ping is sent: load balancers that drop idle links count in the same
	// round numbers.
	pingMargin = 2 * checkEvery
	// lull is how long nothing must have arrived before any ping is sent. A ping that meets a server which has sent everything and closed is
	// answered with an RST, and that destroys what is still on its way.
	lull = 500 * time.Millisecond
	// pingAnyway is when a ping is sent even if there was no lull: more output than in this time is not on its way.
	pingAnyway = 5 * time.Minute
	// lineBuffer is how much stdin, in bytes, a server takes for a terminal that is not read: the kernel's line buffer. With more than that
	// unread it may be blocked in writing it, and a blocked server does not answer pings.
	lineBuffer = 4 << 10
	// idleEvery is how often an empty message is sent. It means nothing to the remote process and resets the servers' idle timer of 4 hours;
	// pings do not reset it (measured on Kubernetes 1.37).
	idleEvery = 15 * time.Minute
)

// errDead is why a dead link is lost.
var errDead = errors.New("the server does not answer any more")

// keepAlive pings the server while it is silent, and closes the socket when the link is dead.
func (s *Session) keepAlive(ctx context.Context, conn *Conn, pings *group.Group) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	l := newLiveness(s.Keepalive, time.Now())
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
			call(s.OnQuiet, overdue)
		}
		l.reports = l.reports[:0]
		switch {
		case l.dead:
			conn.die(errDead)
			return
		case l.pingDue:
			l.pingDue = false
			pings.Go(func() { answers <- conn.ping(ctx) })
		}
	}
}

// keepFromIdling sends an empty message from time to time, so that the servers' idle timer does not end a session in which nothing happens.
func (s *Session) keepFromIdling(ctx context.Context, conn *Conn) {
	ticker := time.NewTicker(idleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			conn.sendNothing()
		}
	}
}

// linkState is what a check of a link is based on.
type linkState struct {
	silence time.Duration // how long the reader has waited for bytes, of which none arrived; 0 while it does not wait
	sent    int64         // bytes of stdin that were sent
	writing bool          // a write has not returned
}

// liveness decides when to ping a server, when its user is told that it is silent, and when a link is dead. It has no clock and does no I/O:
// check is called every checkEvery, and answered when a ping has been answered or could not be sent.
//
// Silence does not count while the reader is paused, while the server may be blocked by a remote process that does not read its stdin, and
// while the machine was asleep.
type liveness struct {
	keepalive time.Duration

	// The results of check and answered, which the caller acts on and clears.
	pingDue bool            // a ping is to be sent
	dead    bool            // the link is dead
	reports []time.Duration // for Session.OnQuiet

	checked  time.Time // the last check
	awake    time.Time // silence before this time does not count
	awaiting time.Time // since when an answer is awaited; zero: none is
	quiet    bool      // the last report was that an answer is overdue

	pinged   time.Time // the last ping was sent
	inFlight bool      // it was neither answered nor has it failed
	sentThen int64     // bytes of stdin that were sent before it
	taken    int64     // bytes of stdin that the server has taken: it has answered a ping that came after them
}

func newLiveness(keepalive time.Duration, now time.Time) *liveness {
	return &liveness{keepalive: keepalive, checked: now, awake: now, pinged: now}
}

// check takes the state of the link.
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

// learns reports whether it is time to find out whether the server has taken the stdin that was sent: output does not say so.
func (l *liveness) learns(sincePing, silence time.Duration) bool {
	return sincePing >= l.keepalive && (silence >= lull || sincePing >= pingAnyway)
}

// ping has a ping sent, unless one is in flight: then its answer will do.
func (l *liveness) ping(now time.Time, s linkState) {
	if !l.inFlight {
		l.pinged, l.sentThen, l.inFlight, l.pingDue = now, s.sent, true, true
	}
}

// overdue takes for how long an answer has been overdue, and how much silence counts.
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

// answered takes the result of the ping in flight; not ok: it could not be sent, which says nothing about the server.
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

// arrived is called when something has come from the server.
func (l *liveness) arrived() {
	l.awaiting = time.Time{}
	if l.quiet {
		l.quiet = false
		l.reports = append(l.reports, 0)
	}
}
