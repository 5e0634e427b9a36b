package nodeshell

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kshell/internal/node"
	"kshell/internal/remote"
)

const (
	// heartbeatFailures is the number of failures in a row after which the user
	// is warned.
	heartbeatFailures = 3
	// minHeartbeatLimit is the minimum time limit of a heartbeat: an exec over
	// a slow link takes a second or two.
	minHeartbeatLimit = 2 * time.Second
)

// heartbeat tells a pod at regular intervals that kshell is still running. The
// pod ends if it receives no heartbeat for the duration of the field timeout.
type heartbeat struct {
	timeout time.Duration
	send    func(ctx context.Context) error
	// failing is called once per outage, after heartbeatFailures failures in a
	// row. Its argument since is the time that has passed since the last
	// heartbeat that reached the pod; err is the last error. restored is called
	// when a heartbeat has reached the pod again after a call of failing.
	failing  func(since time.Duration, err error)
	restored func()
}

// run sends heartbeats until the context ends. The time limit of a heartbeat is
// a quarter of the interval, but at least minHeartbeatLimit. If a heartbeat
// succeeds, the next one begins one interval after the beginning of the
// successful one. If a heartbeat fails, the next one begins as soon as the time
// limit of the failed one has passed.
func (h *heartbeat) run(ctx context.Context) {
	interval := node.HeartbeatInterval(h.timeout)
	limit := max(interval/4, minHeartbeatLimit)
	failures, reached, wait := 0, time.Now(), interval
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begin := time.Now()
		err := withTimeout(ctx, limit, h.send)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if failures >= heartbeatFailures {
				h.restored()
			}
			failures, reached, wait = 0, time.Now(), interval
		default:
			if failures++; failures == heartbeatFailures {
				h.failing(time.Since(reached), err)
			}
			wait = limit
		}
		timer.Reset(wait - time.Since(begin))
	}
}

// withTimeout calls f with a context that ends after limit. The cause of the
// context is then an error that states the limit.
func withTimeout(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	return f(ctx)
}

// startHeartbeats sends heartbeats to the pod until stop is called. stop
// cancels a heartbeat that is being sent, and waits for its end. Problems are
// reported with c.Alert. client identifies this kshell among the clients of a
// shell; it is empty for a command.
func (p *Pod) startHeartbeats(ctx context.Context, c *remote.Command, client string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	name, timeout := p.object.Name, p.options.HeartbeatTimeout
	command := node.HeartbeatCommand(p.options.Windows, client)
	h := &heartbeat{
		timeout: timeout,
		send:    func(ctx context.Context) error { return c.RunInternal(ctx, command) },
		failing: func(since time.Duration, err error) {
			c.Alert(fmt.Sprintf("no heartbeat has reached pod %s for %s (%s): the pod ends after %v without a heartbeat",
				name, remote.Seconds(since), err, timeout))
		},
		restored: func() {
			if !c.ClearAlert() {
				p.notice.Note("heartbeats reach pod %s again", name)
			}
		},
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		defer p.manager.env.Cleanup.OnPanic()
		h.run(ctx)
	})
	return func() {
		cancel()
		sending.Wait()
	}
}

// StartHeartbeats sends heartbeats to the pod until stop is called. It is for
// callers that run the command in the pod themselves.
func (p *Pod) StartHeartbeats(ctx context.Context) (stop func(), err error) {
	env := p.manager.env
	env.Notice = p.notice
	c, err := remote.New(env, p.manager.cluster, p.Target(), p.manager.options.Command)
	if err != nil {
		return nil, err
	}
	return p.startHeartbeats(ctx, c, ""), nil
}
