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
	if w.draining && acked >= w.drained {
		w.draining, w.roundTrip = false, 0
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
			w.draining, w.roundTrip = false, 0
			return
		}
	}
	switch delay := roundTrip - w.roundTrip; {
	case delay > slowQueue && acked >= w.hold:
		w.size = max(w.size/2, minWindow)
		w.hold = sent
	case delay < fastQueue && int(sent-acked)+n >= w.size/2: // the window limits the output
		w.size = min(w.size+n, maxWindow)
	}
}
