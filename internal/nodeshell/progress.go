package nodeshell

import (
	"context"
	"sync"
	"time"

	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

// progressInterval is the time between two messages that kshell is still
// waiting.
const progressInterval = 10 * time.Second

// progress tells the user why a pod does not run yet, if the start takes longer
// than the field delay. Its methods may be called from any goroutine.
type progress struct {
	notice       *notice.Printer
	delay, limit time.Duration
	onPanic      func() // deferred in the goroutine of the timer

	mu       sync.Mutex
	begin    time.Time
	reason   string
	reported bool // the user was told that kshell is waiting
	stopped  bool
	timer    *time.Timer // calls report
}

// update sets the reason. It is called each time that the reason changes.
func (p *progress) update(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reason = reason
	if p.reported {
		p.notice.Note("waiting: %s", reason)
		return
	}
	p.notice.Detail("waiting: %s", reason)
}

func (p *progress) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin = time.Now()
	p.timer = time.AfterFunc(p.delay, p.report)
}

// report is called after delay, and then every progressInterval.
func (p *progress) report() {
	defer p.onPanic()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.stopped:
		return
	case p.reported:
		p.notice.Note("still waiting after %s: %s", remote.Seconds(time.Since(p.begin)), p.reason)
	case p.reason != "":
		p.reported = true
		p.notice.Note("waiting (up to %v, see --pod-running-timeout): %s", p.limit, p.reason)
	}
	p.timer.Reset(progressInterval)
}

// stop ends the messages. err is the result of the wait.
func (p *progress) stop(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.timer.Stop()
	if p.reported && err == nil {
		p.notice.Note("the pod runs after %s", remote.Seconds(time.Since(p.begin)))
	}
}

// waitRunning waits up to limit until the container runs, and tells the user
// why it does not run yet.
func (p *Pod) waitRunning(ctx context.Context, r pod.Request, limit time.Duration) (*pod.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m := p.manager
	w := &progress{notice: p.notice, delay: m.options.Limits.Progress, limit: limit, onPanic: m.env.Cleanup.OnPanic}
	w.start()
	found, err := m.cluster.Pods().Wait(ctx, r, w.update)
	w.stop(err)
	return found, remote.WaitLimit(limit, err)
}
