package main

import (
	"context"
	"sync"
	"time"

	"kshell/internal/pod"
)

// calm is how long a pod may take to start before kshell tells what it waits for.
const calm = 2 * time.Second

// progress tells why a pod does not run yet, when that takes longer than calm. Its methods may be called from any goroutine.
type progress struct {
	notice *notice
	limit  time.Duration

	mu    sync.Mutex
	begin time.Time
	why   string
	told  bool
	over  bool
}

// hear is told why, each time that it changes.
func (p *progress) hear(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.why = why
	if p.told {
		p.notice.say("waiting: %s", why)
		return
	}
	p.notice.detail("waiting: %s", why)
}

// tell is called when calm is over.
func (p *progress) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.told || p.why == "" {
		return
	}
	p.told = true
	p.notice.say("waiting (up to %v, see --pod-running-timeout): %s", p.limit, p.why)
}

// end tells how long it took, if the user has had to wait.
func (p *progress) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.told && err == nil {
		p.notice.say("the pod runs, after %s", seconds(time.Since(p.begin)))
	}
}

// awaitCalmly is await, for a pod that was just made.
func (p *nodePod) awaitCalmly(ctx context.Context, r pod.Request, limit time.Duration) (*pod.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	told := &progress{notice: p.notice, limit: limit, begin: time.Now()}
	timer := time.AfterFunc(calm, told.tell)
	defer timer.Stop()
	found, err := p.pods.Await(ctx, r, told.hear)
	told.end(err)
	return found, err
}
