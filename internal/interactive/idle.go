package interactive

import (
	"context"
	"time"
)

// idleWatch ends a session in which no key is typed for some time. It warns the
// user before that. Use newIdleWatch.
//
// The time during which the machine or kshell is suspended counts. If the warning
// became due in that time, the user is warned before the session ends.
type idleWatch struct {
	limit, notice time.Duration    // the warning is given this long before the end
	active        chan struct{}    // contains an element after a key was typed
	now           func() time.Time // the wall clock
	warn          func()
	clear         func() // a key was typed after the warning
	end           func()
}

const (
	maxIdleNotice = time.Minute
	idleCheck     = 10 * time.Second // the maximum time between two checks of the clock
)

// newIdleWatch returns an idleWatch for a session that ends when no key is typed
// for limit. The warning is given a minute before that, or a tenth of limit if
// that is less.
func newIdleWatch(limit time.Duration) *idleWatch {
	return &idleWatch{
		limit: limit, notice: min(maxIdleNotice, limit/10), active: make(chan struct{}, 1), now: wallClock,
	}
}

// typed is called when a key is typed. It may be called from any goroutine.
func (w *idleWatch) typed() {
	select {
	case w.active <- struct{}{}:
	default:
	}
}

// run watches until it has called end, or ctx ends. The time begins with the
// call.
func (w *idleWatch) run(ctx context.Context) {
	last, warned := w.now(), false
	for {
		left := w.limit - w.now().Sub(last)
		switch {
		case left <= 0 && warned:
			w.end()
			return
		case left <= w.notice && !warned:
			warned, left = true, w.notice
			last = w.now().Add(left - w.limit)
			w.warn()
		}
		next := left
		if !warned {
			next = left - w.notice
		}
		timer := time.NewTimer(min(next, idleCheck))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-w.active:
			timer.Stop()
			last = w.now()
			if warned {
				warned = false
				w.clear()
			}
		}
	}
}

// wallClock returns the time without the reading of the monotonic clock, which
// does not advance while the machine is suspended.
func wallClock() time.Time { return time.Now().Round(0) }
