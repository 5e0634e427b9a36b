package stream

import (
	"sync/atomic"
	"time"
)

// inbound measures the silence of one socket below the protocol library,
// between two messages as well as in the middle of one. Use newInbound: the
// zero value is not usable. It does not allocate. Any goroutine may call
// silence.
type inbound struct {
	start   time.Time
	waiting atomic.Int64 // when the Read in progress began, in nanoseconds after start; or notWaiting
}

const notWaiting = -1

func newInbound() *inbound {
	in := &inbound{start: time.Now()}
	in.done()
	return in
}

// wait is called before each Read of the socket, and done after it.
func (in *inbound) wait() { in.waiting.Store(int64(time.Since(in.start))) }
func (in *inbound) done() { in.waiting.Store(notWaiting) }

// silence returns how long the Read in progress has waited for bytes. It is 0
// if there is none, for example because the reader of the output is paused.
func (in *inbound) silence() time.Duration {
	since := in.waiting.Load()
	if since == notWaiting {
		return 0
	}
	return time.Since(in.start) - time.Duration(since)
}
