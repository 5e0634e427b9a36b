package stream

import (
	"sync/atomic"
	"time"
)

// inbound tracks what arrives on one socket, below the protocol library: inside a message as well as between two. The zero value is
// not usable: see newInbound. It does not allocate, and may be asked from any goroutine.
type inbound struct {
	start   time.Time
	waiting atomic.Int64 // since when a Read has waited for bytes, in nanoseconds after start; 0: no Read is waiting
}

func newInbound() *inbound {
	return &inbound{start: time.Now().Add(-1)} // so that waiting is never 0 by chance
}

// wait is called before each Read of the socket, and done after it.
func (in *inbound) wait() { in.waiting.Store(int64(time.Since(in.start))) }
func (in *inbound) done() { in.waiting.Store(0) }

// silence returns how long the reader has waited for the network, during which nothing has arrived. It is 0 while nobody reads,
// for instance because the consumer of the output is paused.
func (in *inbound) silence() time.Duration {
	since := in.waiting.Load()
	if since == 0 {
		return 0
	}
	return time.Since(in.start) - time.Duration(since)
}
