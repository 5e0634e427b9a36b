package main

import (
	"context"
	"io"
	"sync"
	"time"

	"kshell/internal/terminal"
)

// retryKey starts the next attempts to connect when the user presses Enter. It
// reads the terminal only while at least one cluster waits before an attempt.
// Otherwise, what is typed is left to the next program.
type retryKey struct {
	mu    sync.Mutex
	until time.Time     // when the longest of the waits ends
	begun chan struct{} // contains an element after a call of waiting
}

func newRetryKey() *retryKey { return &retryKey{begun: make(chan struct{}, 1)} }

// waiting is called at the beginning of each wait, which takes delay. It may be
// called from any goroutine.
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

// end returns when the longest of the waits ends.
func (k *retryKey) end() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.until
}

// run calls tryNow when Enter is pressed during a wait. It returns when ctx
// ends, when Ctrl-D is typed during a wait, or when the terminal in cannot be
// read.
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
