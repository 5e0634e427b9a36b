package nodeshell

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

// progressInterval is the time between two updates of the line on a terminal.
const progressInterval = time.Second

// progress tells the user why a pod does not run yet, if the start takes longer
// than the field delay. On a terminal, it updates one line with the reason and
// the time so far, and removes the line at the end. Otherwise, it prints one
// message for each reason. Its methods may be called from any goroutine.
type progress struct {
	notice       *notice.Printer
	delay, limit time.Duration
	onPanic      func() // deferred in the goroutine of the timer

	mu      sync.Mutex
	begin   time.Time
	reason  string
	line    *notice.Progress // nil until the user was told that kshell is waiting
	stopped bool
	timer   *time.Timer // calls report
}

// update sets the reason. It is called each time that the reason changes.
func (p *progress) update(why pod.Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reason = why.Text
	switch {
	case p.line == nil:
		p.notice.Detail("waiting: %s", p.reason)
	case p.line.InPlace():
		p.line.Update(p.elapsed())
	default:
		p.line.Update("waiting: " + p.reason)
	}
}

func (p *progress) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin = time.Now()
	p.timer = time.AfterFunc(p.delay, p.report)
}

// elapsed returns the text of the line on a terminal.
func (p *progress) elapsed() string {
	return fmt.Sprintf("waiting for %s (up to %v): %s", remote.Seconds(time.Since(p.begin)), p.limit, p.reason)
}

// report is called after delay, and then every progressInterval.
func (p *progress) report() {
	defer p.onPanic()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.stopped:
		return
	case p.line == nil && p.reason != "":
		p.line = p.notice.Progress()
		if !p.line.InPlace() {
			p.line.Update(fmt.Sprintf("waiting (up to %v, see --pod-running-timeout): %s", p.limit, p.reason))
		}
	}
	if p.line != nil && p.line.InPlace() {
		p.line.Update(p.elapsed())
	}
	p.timer.Reset(progressInterval)
}

// stop ends the messages. err is the result of the wait.
func (p *progress) stop(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.timer.Stop()
	if p.line == nil {
		return
	}
	p.line.End()
	if err == nil {
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
