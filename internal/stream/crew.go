package stream

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// crew runs goroutines for the one that waits for them. A panic in any of them calls ended and then comes out of wait, in the
// waiting goroutine, where the deferred calls that restore the terminal can see it.
type crew struct {
	ended func() // makes the others end; called at most once per panic
	wg    sync.WaitGroup

	mu    sync.Mutex
	fault *fault // of the first that panicked
}

// fault is a panic on its way from one goroutine to another, with the stack of where it happened.
type fault struct {
	value any
	stack []byte
}

func (f *fault) String() string { return fmt.Sprintf("%v\n\n%s", f.value, f.stack) }

func (c *crew) run(f func()) {
	c.wg.Go(func() {
		defer c.catch()
		f()
	})
}

func (c *crew) catch() {
	value := recover()
	if value == nil {
		return
	}
	c.mu.Lock()
	if c.fault == nil {
		c.fault = &fault{value, debug.Stack()}
	}
	c.mu.Unlock()
	c.ended()
}

// wait returns when all have returned, or panics as the first of them did.
func (c *crew) wait() {
	c.wg.Wait()
	if c.fault != nil {
		panic(c.fault.String())
	}
}
