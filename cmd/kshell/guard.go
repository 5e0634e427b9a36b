package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"kshell/internal/apiclient"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

const (
	// guardAfter is how long a command without a tty runs before its pod is
	// watched. Most commands end earlier.
	guardAfter = time.Second
	// lastWords is how long the server may take to report the outcome of a command
	// after its container has ended. Measured: 2 to 3 s.
	lastWords = 4 * time.Second
	// reasonEvery is the interval at which the status is polled during reasonAfter.
	reasonEvery = 200 * time.Millisecond
	// exitKilled is the exit code of a command that was killed (SIGKILL) together
	// with its container, exitTerminated of one that the container's first process
	// terminated (SIGTERM) before it exited.
	exitKilled     = 137
	exitTerminated = 143
)

// reasonAfter is how long the pod's status may take to show that a container has
// ended, and why.
var reasonAfter = 2 * time.Second

// oneLook is the time limit of one request for the status of a container, at the
// end of a session.
var oneLook = time.Second

// guard watches the pod of a session. It reports changes of the pod to the user, ends
// a session that would hang, and finds the pod for the next connection. A nil *guard,
// for a pod that the user may not get, does nothing.
type guard struct {
	job     *job
	client  *pod.Client // for requests during the session: its credential plugin cannot ask the user
	asking  *pod.Client // for requests before a connection is opened
	request pod.Request // finds another pod
	delay   time.Duration

	// Used by the session's goroutine.
	found *pod.Found
	dials int // the number of connections so far
	// reported means that the error of the last connection tells how the container
	// ended. The watch may also learn that later, while there is no connection.
	reported bool
	leave    context.CancelFunc // ends the watch
	watch    sync.WaitGroup

	mu    sync.Mutex
	over  string        // how the container of found ended; empty while it runs
	ended chan struct{} // closed when over is set
}

// errNodeSilent ends a session whose node is not ready and does not answer.
var errNodeSilent = errors.New("the node does not answer")

// fateError means that the session's container has ended.
type fateError struct{ sentence string }

func (e *fateError) Error() string { return e.sentence }

// guarded returns a guard for a session of the job. The caller must call its method
// end after the session.
func (j *job) guarded() *guard {
	if j.at.seen == nil {
		return nil
	}
	asking, err := j.podClient(j.cfg)
	if err != nil {
		j.notice.Detail("the pod is not watched: %s", err)
		return nil
	}
	client := asking
	if j.creds != nil {
		if client, err = j.podClient(j.beside); err != nil {
			j.notice.Detail("the pod is not watched: %s", err)
			return nil
		}
	}
	client.RunWatch = j.events
	delay := guardAfter
	if j.plan.tty {
		delay = 0
	}
	return &guard{
		job: j, delay: delay, client: client, asking: asking, found: j.at.seen, leave: func() {},
		request: pod.Request{Namespace: j.at.namespace, Target: j.plan.target, Container: j.plan.container},
		ended:   make(chan struct{}),
	}
}

// dialed is called with the error of an attempt to open a connection, and returns it
// or another one.
func (g *guard) dialed(err error) error {
	if g == nil {
		return err
	}
	if err == nil {
		g.dials++
	}
	if g.dials > 0 && g.request.Target.HasReplacements() && noSuchPod(err, g.job.at.pod) { // deleted since next
		return &stream.NotReadyError{Err: err}
	}
	return err
}

// noSuchPod reports whether err is an answer of the API server that the pod does not
// exist.
func noSuchPod(err error, name string) bool {
	var refused *stream.HandshakeError
	return errors.As(err, &refused) && apiclient.StatusNotFound(refused.Status, "pods", name)
}

// events runs a watch over a WebSocket. opened reports whether the connection was
// opened.
func (j *job) events(ctx context.Context, path string, query url.Values, each func([]byte) error) (opened bool) {
	if j.aside.UsesSPDY() { // the server or a gateway refuses WebSockets
		return false
	}
	d := &eventsDriver{transport: j.aside, request: stream.Request{Path: path, Query: query, Origin: true}}
	e := stream.NewEvents(d, nil, stream.LinkSettings{Reconnect: stream.ReconnectNever}, each)
	_ = e.Run(ctx) // the caller tries again
	return d.opened
}

// eventsDriver is the stream.Driver of a watch.
type eventsDriver struct {
	transport *stream.Transport
	request   stream.Request
	opened    bool
}

// Dial implements stream.Driver.
func (d *eventsDriver) Dial(ctx context.Context) (*stream.Conn, error) {
	return d.transport.DialWebSocket(ctx, d.request)
}

// Opened implements stream.Driver.
func (d *eventsDriver) Opened(context.Context, *stream.Conn) error {
	d.opened = true
	return nil
}

// Ended implements stream.Driver.
func (d *eventsDriver) Ended(_ context.Context, err error) error { return err }

// begin starts to watch found, the pod of conn.
func (g *guard) begin(ctx context.Context, conn *stream.Conn) {
	if g == nil {
		return
	}
	g.end()
	ctx, g.leave = context.WithCancel(ctx)
	found := g.found
	g.watch.Go(func() {
		defer g.job.cleanup.OnPanic()
		select {
		case <-ctx.Done():
			return
		case <-time.After(g.delay):
		}
		err := g.client.WatchChanges(ctx, found, func(sentence string, over bool) { g.tell(ctx, conn, sentence, over) })
		if err != nil && ctx.Err() == nil {
			g.job.notice.Detail("the pod is not watched: %s", err)
		}
	})
}

// end ends the watch.
func (g *guard) end() {
	if g == nil {
		return
	}
	g.leave()
	g.watch.Wait()
}

// tell is called by the watch with each change of the container, in a sentence for
// the user; over means that the container has ended.
func (g *guard) tell(ctx context.Context, conn *stream.Conn, sentence string, over bool) {
	if over {
		g.finish(sentence)
		select {
		case <-ctx.Done(): // the server has reported the outcome
			return
		case <-time.After(lastWords):
		}
		conn.Drop(&fateError{sentence})
		return
	}
	g.job.alert(sentence)
	if g.job.plan.tty && g.lost(ctx) { // a command without a tty may still report its outcome when the node is back
		conn.Drop(errNodeSilent)
	}
}

// lost reports whether the pod's node is not ready and does not answer. The
// connection does not show that: the API server keeps it alive.
func (g *guard) lost(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	at := g.job.where()
	if now, err := g.client.Get(ctx, at.namespace, at.pod); err != nil || !pod.NodeLost(now) {
		return false
	}
	err := g.job.quietly(ctx, at, []string{"true"})
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || unanswered(err)
}

// unanswered reports whether err of an attempt to run a command means that no node
// has answered.
func unanswered(err error) bool {
	var refused *stream.HandshakeError
	var remote *stream.RemoteError
	var lost *stream.LostError
	switch {
	case errors.As(err, &refused):
		return refused.StatusCode >= http.StatusInternalServerError && refused.Refusal() != stream.RefusalNotRunning
	case errors.As(err, &remote):
		return remote.Start == stream.StartOther && !remote.NotRunning()
	}
	return errors.As(err, &lost)
}

func (g *guard) finish(sentence string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over == "" {
		g.over = sentence
		close(g.ended)
	}
}

// fate returns how the container ended; empty while it runs.
func (g *guard) fate() string {
	if g == nil {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.over
}

// judge is called with the outcome of a connection. If a session ends because its container
// has ended, and the session can be taken up again, it returns a LostError. If not, it
// tells the user how the container ended and returns err, which has the exit code.
func (g *guard) judge(ctx context.Context, err error) error {
	if g == nil {
		return err
	}
	var exit *stream.ExitError
	var lost *stream.LostError
	var known *fateError
	var remote *stream.RemoteError
	switch {
	case errors.As(err, &known):
		g.reported = true
		return err
	case errors.As(err, &remote) && g.dials > 1 && remote.NotRunning(): // g.next finds out more before the next attempt
		return &stream.NotReadyError{Err: err}
	case errors.As(err, &exit) && (exit.Code == exitKilled || exit.Code == exitTerminated):
		g.ask(ctx, true)
	case errors.As(err, &lost) && g.policy() == stream.ReconnectNever: // else g.next finds out
		g.ask(ctx, false)
	default:
		return err
	}
	sentence := g.fate()
	switch {
	case sentence == "":
		return err
	case lost != nil, g.policy() == stream.ReconnectAlways && g.request.Target.HasReplacements():
		g.reported = true
		return &stream.LostError{Err: &fateError{sentence}}
	}
	g.job.tidy()
	g.job.notice.WarnAlways("%s", sentence)
	g.job.killed = true
	return err
}

// policy returns the policy of the session.
func (g *guard) policy() stream.Reconnect {
	if g.job.plan.tty {
		return g.job.plan.live.policy(stream.ReconnectAlways)
	}
	return g.job.plan.live.policy(stream.ReconnectNever)
}

// ask requests the status of the container and calls finish if it has ended. It
// tries again, for up to reasonAfter, if the request fails or the pod is being
// deleted. With wait, it also tries again while the container is running according to
// the status, which the kubelet updates some time after the end.
func (g *guard) ask(ctx context.Context, wait bool) {
	ctx, cancel := context.WithTimeout(ctx, reasonAfter)
	defer cancel()
	hear := func(sentence string, over bool) {
		if over {
			g.finish(sentence)
		}
	}
	for {
		sentence, over, err := g.look(ctx)
		hear(sentence, over)
		switch {
		case over, err == nil && sentence == "" && !wait:
			return
		case err == nil && sentence != "":
			_ = g.client.WatchChanges(ctx, g.found, hear) // up to reasonAfter
			return
		}
		select {
		case <-g.ended:
			return
		case <-time.After(reasonEvery):
		case <-ctx.Done():
			return
		}
	}
}

func (g *guard) look(ctx context.Context) (sentence string, over bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, oneLook)
	defer cancel()
	return g.client.DescribeChange(ctx, g.found)
}

// next finds the pod for the next connection, unless it is the first one, and makes it
// the pod of the session.
func (g *guard) next(ctx context.Context) error {
	if g == nil || g.dials == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	next, sentence, err := g.asking.Next(ctx, g.found, g.request)
	var gone *pod.GoneError
	var refused *pod.RequestError
	switch {
	case errors.As(err, &gone):
		return &stream.NotReadyError{Err: gone, Final: true}
	case errors.As(err, &refused) && refused.NotFound():
		return &stream.NotReadyError{Err: refused, Final: true}
	case errors.As(err, &refused): // the connection attempt will fail with a better error
		return nil
	case err != nil:
		return &stream.NotReadyError{Err: err}
	case next == g.found:
		return nil
	}
	g.end() // the messages about the old pod come before those below
	if !g.reported {
		g.job.notice.WarnAlways("%s", sentence)
	}
	if next.Pod.UID != g.found.Pod.UID {
		g.job.notice.Note("going on in pod %s", next.Pod.Name)
	}
	g.move(next)
	return nil
}

// move makes next the pod of the session.
func (g *guard) move(next *pod.Found) {
	g.end()
	g.reported = false
	g.job.move(place{g.job.at.namespace, next.Pod.Name, next.Container, next})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.found, g.over, g.ended = next, "", make(chan struct{})
}
