package main

import (
	"context"
	"io"
	"sync"
	"time"

	"kshell/internal/terminal"
)

// retryKey ends the waits before the next attempts when the user presses Enter.
// It reads the terminal only during a wait, so that other input stays there for
// the next program.
type retryKey struct {
	mu    sync.Mutex
	until time.Time     // the end of the last wait
	begun chan struct{} // contains an element after a call of waiting
}

func newRetryKey() *retryKey { return &retryKey{begun: make(chan struct{}, 1)} }

// waiting is called at the beginning of each wait. It may be called from any
// goroutine.
func (k *retryKey) waiting(delay time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if end := time.Now().Add(delay); end.After(k.until) {
		k.until = end
	}
	select {
	case k.begun <- struct{}{}:
	default:
	}
}

// end returns the end of the last wait.
func (k *retryKey) end() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.until
}

// run calls tryNow when Enter is pressed during a wait. It returns when ctx
// ends, or when the terminal in cannot be read.
func (k *retryKey) run(ctx context.Context, in io.Reader, tryNow func()) {
	for {
		select {
		case <-k.begun:
		case <-ctx.Done():
			return
		}
		wait, cancel := context.WithDeadline(ctx, k.end())
		pressed := terminal.AwaitEnter(wait, in)
		over := wait.Err() != nil
		cancel()
		switch {
		case pressed:
			k.mu.Lock()
			k.until = time.Time{}
			k.mu.Unlock()
			tryNow()
		case !over:
			return
		}
	}
}
