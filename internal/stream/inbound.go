package stream

import (
	"sync/atomic"
	"time"
)

// inbound tracks what arrives on one socket, below the protocol library: inside a message as well as between two. The zero value is
// not usable: see newInbound. It does not allocate, and may be asked from any goroutine.
type inbound struct {
	start   time.Time
	waiting atomic.Int64 // since when a Read has waited for bytes, in nanoseconds after start; or notWaiting
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

// silence returns how long the reader has waited for the network, during which nothing has arrived. It is 0 while nobody reads,
// for instance because the consumer of the output is paused.
func (in *inbound) silence() time.Duration {
	since := in.waiting.Load()
	if since == notWaiting {
		return 0
	}
	return time.Since(in.start) - time.Duration(since)
}
