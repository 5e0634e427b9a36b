package main

import (
	"context"
	"sync"
	"time"

	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

// calm is how long a pod may take to start before kshell tells what it waits for.
var calm = 2 * time.Second

// reminds is how often it then tells how long it has waited.
const reminds = 10 * time.Second

// progress tells why a pod does not run yet, when that takes longer than calm. Its methods may be called from any goroutine.
type progress struct {
	notice  *notice.Printer
	limit   time.Duration
	onPanic func() // deferred where nobody else takes care of a panic

	mu    sync.Mutex
	begin time.Time
	why   string
	told  bool
	over  bool
	timer *time.Timer // of tell
}

// hear is told why, each time that it changes.
func (p *progress) hear(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.why = why
	if p.told {
		p.notice.Note("waiting: %s", why)
		return
	}
	p.notice.Detail("waiting: %s", why)
}

// start lets the time pass.
func (p *progress) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin = time.Now()
	p.timer = time.AfterFunc(calm, p.tell)
}

// tell is called when calm is over, and then again and again.
func (p *progress) tell() {
	defer p.onPanic()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over:
		return
	case p.told:
		p.notice.Note("waiting for %s now: %s", remote.Seconds(time.Since(p.begin)), p.why)
	case p.why != "":
		p.told = true
		p.notice.Note("waiting (up to %v, see --pod-running-timeout): %s", p.limit, p.why)
	}
	p.timer.Reset(reminds)
}

// end tells how long it took, if the user has had to wait.
func (p *progress) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
	if p.told && err == nil {
		p.notice.Note("the pod runs, after %s", remote.Seconds(time.Since(p.begin)))
	}
}

// awaitCalmly is await, for a pod that was just made.
func (p *nodePod) awaitCalmly(ctx context.Context, r pod.Request, limit time.Duration) (*pod.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	told := &progress{notice: p.notice, limit: limit, onPanic: p.cleanup.OnPanic}
	told.start()
	found, err := p.pods.Wait(ctx, r, told.hear)
	told.end(err)
	return found, remote.WaitLimit(limit, err)
}
