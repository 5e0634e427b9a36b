package agent

import "time"

// Limits of the flow control of a terminal's output.
const (
	minWindow     = 16 << 10
	maxWindow     = 1 << 20
	initialWindow = 64 << 10

	// commandWindow is the window of a command without a terminal.
	commandWindow = 4 << 20

	// A window shrinks if output waits for longer than slowQueue in the network or
	// at the client, and grows if it waits for less than fastQueue.
	slowQueue = 100 * time.Millisecond
	fastQueue = 50 * time.Millisecond

	// A window does not shrink below the output that arrives within safeQueue, or,
	// up to slowWindow, within slowLinkQueue; see floor.
	safeQueue     = 250 * time.Millisecond
	slowLinkQueue = time.Second
	slowWindow    = 32 << 10 // bytes

	// rateInterval is the minimum time in which the rate of the output is measured.
	rateInterval = 250 * time.Millisecond

	// roundTripAge is the maximum age of the minimum round trip.
	roundTripAge = 10 * time.Second
)

// window limits the output that was sent to a client and not acknowledged. For a
// terminal, it depends on the queueing delay, which is the round trip of a frame
// minus the minimum round trip. A small window keeps the queue short, so the answer
// to Ctrl-C arrives soon even if the connection is slow.
type window struct {
	size      int
	fixed     bool          // the size never changes
	roundTrip time.Duration // the minimum; 0 before the first sample
	measured  time.Duration // the time of the sample that is the minimum
	hold      uint64        // the size is not reduced again until output from this offset on is acknowledged
	delay     time.Duration // the minimum queueing delay since hold was set
	rate      int           // bytes per second that are acknowledged; 0 before the first measurement
	since     time.Duration // the time since which count is counted
	count     int           // the bytes that were acknowledged since then
	draining  bool          // see limit
	drained   uint64        // while draining, the end of the output that was sent
}

func newWindow(terminal bool) window {
	if terminal {
		return window{size: initialWindow}
	}
	return window{size: commandWindow, fixed: true}
}

// limit returns how many bytes of output may be unacknowledged. While the minimum
// round trip is measured again, it is 0, because output that is always in a queue
// would raise the minimum. The measurement takes one round trip, once per
// roundTripAge.
func (w *window) limit() int {
	if w.draining {
		return 0
	}
	return w.size
}

// acked updates the size after an acknowledgement at the time now. roundTrip is the
// round trip of the last acknowledged frame, or 0 if it is unknown. acked and sent
// are the offsets after the output that was acknowledged and sent. n is the number of
// bytes that this acknowledgement has added.
func (w *window) acked(now, roundTrip time.Duration, acked, sent uint64, n int) {
	if w.fixed {
		return
	}
	limited := int(sent-acked)+n >= w.size/2 // the window limits the output
	w.measureRate(now, n, limited)
	if w.draining && acked >= w.drained {
		w.endDrain(now)
		return
	}
	if roundTrip <= 0 {
		return // unknown
	}
	if w.roundTrip == 0 || roundTrip <= w.roundTrip {
		w.roundTrip, w.measured = roundTrip, now
	} else if now-w.measured > roundTripAge && !w.draining {
		w.draining, w.drained = true, sent
		if acked >= sent {
			w.endDrain(now)
			return
		}
	}
	delay := roundTrip - w.roundTrip
	w.delay = min(w.delay, delay)
	if delay < fastQueue && limited {
		w.size = min(w.size+n, maxWindow)
	}
	if acked >= w.hold {
		if w.delay > slowQueue {
			w.size = min(max(w.size/2, w.floor()), maxWindow)
		}
		w.hold, w.delay = sent, 1<<62
	}
}

// endDrain ends the pause in which the minimum round trip is measured again.
func (w *window) endDrain(now time.Duration) {
	w.draining, w.roundTrip = false, 0
	w.since, w.count = now, 0
}

// measureRate measures the rate of the output. If the window does not limit the
// output, the rate can only rise.
func (w *window) measureRate(now time.Duration, n int, limited bool) {
	w.count += n
	passed := now - w.since
	if passed < rateInterval {
		return
	}
	rate := int(time.Duration(w.count) * time.Second / passed)
	switch {
	case w.rate == 0:
		w.rate = rate
	case limited || rate > w.rate:
		w.rate += (rate - w.rate) / 4
	}
	w.since, w.count = now, 0
}

// floor returns the size below which the window does not shrink. On an overloaded
// machine, each round trip is long, because the processes wait until they are
// scheduled. A smaller window would not shorten this delay, but only reduce the rate.
// The output of the floor needs safeQueue at the measured rate, so that the answer to
// Ctrl-C is not much later even if the connection is what limits the rate. On slow
// connections, a longer delay is accepted.
func (w *window) floor() int {
	slow := min(int(time.Duration(w.rate)*slowLinkQueue/time.Second), slowWindow)
	return max(minWindow, slow, int(time.Duration(w.rate)*safeQueue/time.Second))
}
