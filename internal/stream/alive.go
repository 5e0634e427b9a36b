package stream

import (
	"context"
	"errors"
	"time"

	"kshell/internal/group"
)

// A socket is live, quiet or dead. It is quiet when a ping is overdue by quietAfter, and dead when nothing has been heard for deadAfter, of which
// a ping has been overdue for answerWithin.
const (
	quietAfter   = 5 * time.Second
	deadAfter    = 20 * time.Second
	answerWithin = 10 * time.Second
	// pulse is how often a socket is looked at. Three of them without a look: the machine slept, or the process was stopped.
	pulse = time.Second
	// early is how much before its time a ping is sent: what drops idle links between us counts in the same round numbers.
	early = 2 * pulse
	// typedAhead is how much stdin a server takes for a tty that is not read (the kernel's line buffer), in bytes: with more than that under
	// way it may be blocked in writing, and then it does not answer pings.
	typedAhead = 4 << 10
	// idleEvery is how often an empty message is sent: it is nothing to the remote, and resets the servers' idle timer of 4 hours, which a
	// ping does not (measured on Kubernetes 1.37).
	idleEvery = 15 * time.Minute
)

// errDead is why a dead socket is lost.
var errDead = errors.New("the server does not answer any more")

// watchLink sends pings while the server is silent, and closes the socket when it stays so. It never holds it against the server that our own
// reader is paused, or that it may be blocked by a remote that does not read.
func (s *Session) watchLink(ctx context.Context, conn *Conn, pings *group.Group) {
	ticker := time.NewTicker(pulse)
	defer ticker.Stop()
	h := heart{session: s, conn: conn, looked: time.Now(), asked: time.Now(), idle: time.Now()}
	answers := make(chan bool, 1)
	for {
		select {
		case <-ctx.Done():
			return
		case ok := <-answers:
			h.answered(ok)
			continue
		case now := <-ticker.C:
			h.look(now)
		}
		switch {
		case h.dead:
			conn.die(errDead)
			return
		case h.due:
			h.due = false
			pings.Go(func() { answers <- conn.ping(ctx) })
		}
	}
}

// heart is what watchLink knows.
type heart struct {
	session *Session
	conn    *Conn
	looked  time.Time // last
	afresh  time.Time // since when silence counts, whatever was before
	idle    time.Time // the last empty message
	pinged  time.Time // an answer is awaited since; zero: none
	asked   time.Time // the last ping was sent
	busy    bool      // and is on its way
	asking  int64     // how much stdin it was sent behind
	taken   int64     // how much stdin the server has taken: it answers what comes behind
	quiet   bool      // and the session was told
	due     bool      // a ping
	dead    bool
}

// look decides, once a pulse.
func (h *heart) look(now time.Time) {
	slept := now.Sub(h.looked) > 3*pulse
	h.looked = now
	silent := h.conn.quiet()
	switch {
	case slept || silent == 0:
		h.afresh = now
		if !h.pinged.IsZero() {
			h.pinged = now
		}
	case !h.pinged.IsZero() && silent < now.Sub(h.pinged): // something came
		h.life()
	case !h.pinged.IsZero():
		h.overdue(now.Sub(h.pinged), min(silent, now.Sub(h.afresh)))
	case silent+early >= h.session.Keepalive:
		h.pinged = now
		h.ask(now) // else the answer to an earlier ping is awaited
	case h.conn.sent.Load() > h.taken && now.Sub(h.asked) >= h.session.Keepalive: // output does not say that it was taken
		h.ask(now)
	}
	if h.session.IdleKeepalive && now.Sub(h.idle) >= idleEvery {
		h.idle = now
		h.conn.sendNothing()
	}
}

// ask has a ping sent, unless one is on its way.
func (h *heart) ask(now time.Time) {
	if !h.busy {
		h.asked, h.asking, h.busy, h.due = now, h.conn.sent.Load(), true, true
	}
}

// overdue takes for how long a ping has been so, and for how long there was silence that counts.
func (h *heart) overdue(d, silent time.Duration) {
	if h.conn.sent.Load()-h.taken > typedAhead || h.conn.writes.Load() > 0 {
		return
	}
	h.dead = silent >= deadAfter && d >= answerWithin
	if d >= quietAfter {
		h.quiet = true
		call(h.session.OnQuiet, d)
	}
}

// answered takes a pong; not ok: the ping could not be written, which says nothing.
func (h *heart) answered(ok bool) {
	h.busy = false
	switch {
	case ok:
		h.taken = h.asking
		h.life()
	case !h.quiet:
		h.pinged = time.Time{}
	}
}

func (h *heart) life() {
	h.pinged = time.Time{}
	if h.quiet {
		h.quiet = false
		call(h.session.OnQuiet, 0)
	}
}
