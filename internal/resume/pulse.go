package resume

import "time"

// The time limits of a relay.
const (
	// The time limit of an answer is answerTrips round trips, but at least
	// minAnswer and at most maxAnswer.
	answerTrips = 4
	minAnswer   = 3 * time.Second
	maxAnswer   = 10 * time.Second
	// sendRate is the rate at which a slow connection is expected to send, in
	// bytes per second. The limit of an answer is extended by the time that the
	// bytes need that were sent since the agent was last heard.
	sendRate = 32 << 10
	// maxInterval is the longest interval of pings: the agent closes a relay on
	// which no frame arrives for 60 seconds.
	maxInterval = 20 * time.Second
	// typedInterval is the shortest interval of pings that accompany input.
	typedInterval = time.Second
	// If a check is late by asleepAfter, the computer was asleep or the process
	// was stopped. If it is late by longSleep, the relay is replaced at once.
	asleepAfter = 3 * time.Second
	longSleep   = 30 * time.Second
)

// pulse decides when to ping the agent, and whether its answer is overdue. An
// answer is overdue if nothing, not even a part of a frame, has arrived within the
// time limit after a ping. The limit is four round trips, but at least 3 s and at
// most 10 s. The round trip is that of the last ping, which includes the time in
// queues. The limit is longer after much input, because a slow connection needs
// time to send it.
//
// A ping is sent at each interval. It is also sent with input, if no ping is
// unanswered and the last one is at least a second ago. So a dead relay is noticed
// soon after a key was typed.
//
// It has no clock and does no I/O. The time is the time since any fixed time.
type pulse struct {
	interval time.Duration
	endless  bool // no answer is ever overdue

	pinged   time.Duration // when the last ping was sent
	waiting  time.Duration // when the first ping after the last arrival was sent
	awaiting bool          // a ping was sent after the last arrival
	unheard  int           // the number of bytes that were sent after the last arrival
}

// newPulse returns a pulse with pings at the interval. 0 means that no answer is
// ever overdue. Pings are sent nevertheless, because the agent needs them.
func newPulse(interval time.Duration) pulse {
	if interval <= 0 {
		return pulse{interval: maxInterval, endless: true}
	}
	return pulse{interval: min(interval, maxInterval)}
}

// restart begins a new relay, on which nothing was sent.
func (p *pulse) restart(now time.Duration) { p.pinged, p.awaiting, p.unheard = now, false, 0 }

// due reports whether a ping is due.
func (p *pulse) due(now time.Duration) bool { return now-p.pinged >= p.interval }

// dueWithInput reports whether a ping must be sent with input.
func (p *pulse) dueWithInput(now time.Duration) bool {
	return !p.awaiting && now-p.pinged >= typedInterval
}

// ping records that a ping is sent.
func (p *pulse) ping(now time.Duration) {
	p.pinged = now
	if !p.awaiting {
		p.waiting, p.awaiting = now, true
	}
}

// sent records that bytes were sent.
func (p *pulse) sent(n int) { p.unheard += n }

// heard records that bytes have arrived.
func (p *pulse) heard() { p.awaiting, p.unheard = false, 0 }

// woke records that the computer or the process has not run for a while: the
// wait for an answer begins again.
func (p *pulse) woke(now time.Duration) { p.waiting = now }

// overdue returns how long the agent has not answered, if that is too long.
func (p *pulse) overdue(now, roundTrip time.Duration) (since time.Duration, overdue bool) {
	since = now - p.waiting
	return since, p.awaiting && !p.endless && since >= p.limit(roundTrip)
}

// limit returns the time limit of an answer.
func (p *pulse) limit(roundTrip time.Duration) time.Duration {
	answer := min(max(answerTrips*roundTrip, minAnswer), maxAnswer)
	return answer + time.Duration(p.unheard)*time.Second/sendRate
}
