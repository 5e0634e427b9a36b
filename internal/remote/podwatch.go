package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"kshell/internal/apiclient"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

const (
	// watchDelay is how long a command without a tty runs before its pod is
	// watched. Most commands end earlier.
	watchDelay = time.Second
	// outcomeDelay is how long the server may take to report the outcome of a
	// command after its container has ended. Servers were measured to take 2 to
	// 3 s.
	outcomeDelay = 4 * time.Second
	// statusInterval is how long findReason waits before it requests the status
	// again.
	statusInterval = 200 * time.Millisecond
	// exitKilled is the exit code of a command that SIGKILL ended, as when its
	// container is killed. exitTerminated is the exit code of a command that
	// SIGTERM ended, as when the container's first process terminates all
	// others and exits.
	exitKilled     = 137
	exitTerminated = 143
)

// podWatch watches the pod of a session. It reports changes of the pod to the
// user, ends a session that would hang, and finds the pod for the next
// connection. It uses pod.Client instead of stream.Objects: that requests the
// pod itself, so the user needs no right to list pods, and it works without the
// right to watch them. If the pod is not known, the *podWatch is nil; the methods
// of a nil *podWatch do nothing. If the lookup of the pod has not ended, the
// podWatch waits for it.
type podWatch struct {
	cmd   *Command
	delay time.Duration

	// Used by the session's goroutine.
	target Target // the container that is watched
	dials  int    // the number of connections so far
	// reported means that the error of the last connection says how the
	// container ended, so findNext does not print that again.
	reported bool
	// killed means that the last command was killed while its pod was being
	// deleted. The session then continues in another pod, even if the status
	// does not show yet that the container has ended.
	killed   bool
	cancel   context.CancelFunc // ends the watch
	watching sync.WaitGroup

	mu             sync.Mutex
	reason         string        // how the container ended; empty while it runs
	containerEnded chan struct{} // closed when reason is set
}

// errNodeSilent ends a session whose node is not ready and does not answer.
var errNodeSilent = errors.New("the node does not answer")

// containerEndedError means that the session's container has ended.
type containerEndedError struct{ reason string }

func (e *containerEndedError) Error() string { return e.reason }

// newPodWatch returns a podWatch for a session of the command. The caller must
// call its method end after the session.
func (c *Command) newPodWatch() *podWatch {
	t := c.Target()
	if t.Found == nil && t.lookup == nil {
		return nil
	}
	w := &podWatch{cmd: c, delay: watchDelay, target: t, cancel: func() {}, containerEnded: make(chan struct{})}
	if c.options.TTY {
		w.delay = 0
	}
	return w
}

// replaceable reports whether another pod may replace the pod.
func (w *podWatch) replaceable() bool { return w.cmd.options.Pod.Target.HasReplacements() }

// findNext finds the pod for the next connection and makes it the target of the
// command. For the first connection, it does nothing.
func (w *podWatch) findNext(ctx context.Context) error {
	if w == nil || w.dials == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	pods, done, err := w.cmd.cluster.newPods()
	if err != nil {
		return err
	}
	defer done()
	request := w.cmd.options.Pod
	request.Namespace = w.cmd.Target().Namespace
	found := w.target.await(ctx)
	if found == nil { // the connection attempt shows whether the pod exists
		return nil
	}
	next, change, err := pods.Next(ctx, found, request, w.killed)
	var gone *pod.GoneError
	var refused *pod.RequestError
	switch {
	case errors.As(err, &gone) && w.cmd.resumption.begun():
		return sessionGone(gone.Sentence)
	case errors.As(err, &gone):
		return &stream.NotReadyError{Err: gone, Final: true}
	case errors.As(err, &refused) && refused.NotFound():
		return &stream.NotReadyError{Err: refused, Final: true}
	case errors.As(err, &refused): // the connection attempt will fail with a better error
		return nil
	case err != nil && change != "" && w.cmd.resumption.begun():
		return sessionGone(change)
	case err != nil:
		return &stream.NotReadyError{Err: err}
	case next == found:
		return nil
	case w.cmd.resumption.begun():
		return sessionGone(change)
	}
	w.end() // the messages about the old pod come before those below
	if !w.reported {
		w.cmd.env.Notice.WarnAlways("%s", change)
	}
	if next.Pod.UID != found.Pod.UID {
		w.cmd.env.Notice.Note("continuing in pod %s", next.Pod.Name)
	}
	w.setFound(next)
	return nil
}

// sessionGone returns the error for a session of the session agent whose
// container has ended. change describes how the container has ended. A container
// that replaces it does not have the session.
func sessionGone(change string) error {
	return &stream.NotReadyError{Err: &stream.LostError{Err: &containerEndedError{change}}, Final: true}
}

// setFound makes next the target of the command.
func (w *podWatch) setFound(next *pod.Found) {
	w.reported, w.killed = false, false
	w.target = Target{
		Namespace: w.cmd.Target().Namespace, Pod: next.Pod.Name, Container: next.Container, Found: next,
	}
	w.cmd.setTarget(w.target)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reason, w.containerEnded = "", make(chan struct{})
}

// dialed is called after each attempt to open a connection, with the error of
// the attempt. dialed returns the error that the session gets.
func (w *podWatch) dialed(err error) error {
	if w == nil {
		return err
	}
	if err == nil {
		w.dials++
	}
	replaced := w.dials > 0 && w.replaceable() && !w.cmd.resumption.begun()
	if replaced && isPodNotFound(err, w.cmd.Target().Pod) { // the pod was deleted after findNext
		return &stream.NotReadyError{Err: err}
	}
	return err
}

// isPodNotFound reports whether the API server answered that the pod does not
// exist.
func isPodNotFound(err error, name string) bool {
	var refused *stream.HandshakeError
	return errors.As(err, &refused) && apiclient.StatusNotFound(refused.Status, "pods", name)
}

// start starts to watch the pod of conn. The watch ends with ctx.
func (w *podWatch) start(ctx context.Context, conn *stream.Conn) {
	if w == nil {
		return
	}
	w.end()
	ctx, w.cancel = context.WithCancel(ctx)
	target := w.target
	w.watching.Go(func() {
		defer w.cmd.env.Cleanup.OnPanic()
		select {
		case <-ctx.Done():
			return
		case <-time.After(w.delay):
		}
		found := target.await(ctx)
		if found == nil {
			return
		}
		handle := func(change string, over bool) { w.handle(ctx, conn, change, over) }
		err := w.cmd.cluster.BackgroundPods().WatchChanges(ctx, found, handle)
		if err != nil && ctx.Err() == nil {
			w.cmd.env.Notice.Detail("the pod is not watched: %s", err)
		}
	})
}

// end ends the watch.
func (w *podWatch) end() {
	if w == nil {
		return
	}
	w.cancel()
	w.watching.Wait()
}

// handle is called by the watch for each change of the container. change is a
// sentence for the user; over means that the container has ended.
func (w *podWatch) handle(ctx context.Context, conn *stream.Conn, change string, over bool) {
	if over {
		w.setReason(change)
		select {
		case <-ctx.Done(): // the server has reported the outcome
			return
		case <-time.After(outcomeDelay):
		}
		conn.Drop(&containerEndedError{change})
		return
	}
	w.cmd.Alert(change)
	// The connection of a command without a tty is kept, because the command
	// may still report its outcome when the node is back. If the session agent
	// runs the command, the connection is not kept, because the next one leads to
	// the same command.
	if (w.cmd.options.TTY || w.cmd.Resumes()) && w.nodeSilent(ctx) {
		conn.Drop(errNodeSilent)
	}
}

// nodeSilent reports whether the pod's node is not ready and does not answer.
// nodeSilent sends requests to find out, because the API server keeps the
// session's connection open even if the node is dead.
func (w *podWatch) nodeSilent(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	t := w.cmd.Target()
	if now, err := w.cmd.cluster.BackgroundPods().Get(ctx, t.Namespace, t.Pod); err != nil || !pod.NodeLost(now) {
		return false
	}
	err := w.cmd.runInternalIn(ctx, t, []string{"true"})
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || isUnanswered(err)
}

// isUnanswered reports whether err, from an attempt to run a command, means
// that the node did not answer.
func isUnanswered(err error) bool {
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

// setReason records how the container ended.
func (w *podWatch) setReason(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reason == "" {
		w.reason = reason
		close(w.containerEnded)
	}
}

// endReason returns how the container ended; empty while it runs.
func (w *podWatch) endReason() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reason
}

// ended is called with the outcome of a connection. If the container has ended,
// there are two cases. If the connection was lost, or if the session can
// continue in another pod, ended returns a LostError that says how the
// container ended. Otherwise err is the exit code of the command: ended prints
// how the container ended, and returns err.
//
// If the command was killed and its pod is being deleted, the container has
// probably ended, but a busy node reports that late. ended then returns a
// LostError, too, if the session can continue in another pod.
func (w *podWatch) ended(ctx context.Context, err error) error {
	if w == nil {
		return err
	}
	reconnects := w.cmd.reconnect() == stream.ReconnectAlways
	var exit *stream.ExitError
	var lost *stream.LostError
	var ended *containerEndedError
	var remote *stream.RemoteError
	deleting := ""
	switch {
	case errors.As(err, &ended):
		w.reported = true
		return err
	case errors.As(err, &remote) && w.dials > 1 && remote.NotRunning() && w.target.found() != nil:
		// findNext determines the reason.
		return &stream.NotReadyError{Err: err}
	case errors.As(err, &exit) && (exit.Code == exitKilled || exit.Code == exitTerminated):
		deleting = w.findReason(ctx, true)
	case errors.As(err, &lost) && !reconnects: // after a reconnect, findNext determines the reason
		w.findReason(ctx, false)
	default:
		return err
	}
	reason := w.endReason()
	switch {
	case reason == "" && deleting != "" && reconnects && w.replaceable() && !w.cmd.resumption.begun():
		w.reported, w.killed = true, true
		reason = fmt.Sprintf("%s; the command ended with exit code %d", deleting, exit.Code)
		return &stream.LostError{Err: &containerEndedError{reason}}
	case reason == "":
		return err
	case lost != nil, reconnects && w.replaceable():
		w.reported = true
		return &stream.LostError{Err: &containerEndedError{reason}}
	}
	w.cmd.tidy()
	w.cmd.env.Notice.WarnAlways("%s", reason)
	w.cmd.killed = true
	return err
}

// findReason requests the status of the container, and calls setReason if the
// container has ended. If the pod is being deleted, findReason waits until the
// container has ended, for up to Limits.Reason.
//
// If wait is set, findReason repeats the request for up to Limits.Reason while
// it fails or the status shows that the container is running, because the
// kubelet updates the status some time after the container has ended.
//
// If wait is not set, the connection of the session was lost. The request is
// then made on a new connection, because the other ones may be lost, too. It is
// not repeated, because the user waits for the message that the connection was
// lost.
//
// If the container has not ended, but its pod is being deleted or its node is
// lost, findReason returns the sentence about that.
func (w *podWatch) findReason(ctx context.Context, wait bool) (unfinished string) {
	pods := w.cmd.cluster.BackgroundPods()
	if !wait {
		fresh, done, err := w.cmd.cluster.newBackgroundPods()
		if err != nil {
			return ""
		}
		defer done()
		pods = fresh
	}
	ctx, cancel := context.WithTimeout(ctx, w.cmd.limits.Reason)
	defer cancel()
	found := w.target.await(ctx)
	if found == nil {
		return ""
	}
	handle := func(change string, over bool) {
		if over {
			w.setReason(change)
			return
		}
		unfinished = change
	}
	for {
		change, over, err := w.requestStatus(ctx, pods, found)
		handle(change, over)
		switch {
		case over, change == "" && !wait:
			return unfinished
		case err == nil && change != "":
			_ = pods.WatchChanges(ctx, found, handle) // up to Limits.Reason
			return unfinished
		}
		select {
		case <-w.containerEnded:
			return unfinished
		case <-time.After(statusInterval):
		case <-ctx.Done():
			return unfinished
		}
	}
}

func (w *podWatch) requestStatus(
	ctx context.Context, pods *pod.Client, found *pod.Found,
) (change string, over bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.cmd.limits.Status)
	defer cancel()
	return pods.DescribeChange(ctx, found)
}

// ContainerEnded returns how the container ended, as a sentence for the user.
// ok is false if err does not mean that the container ended during a session.
func ContainerEnded(err error) (reason string, ok bool) {
	var ended *containerEndedError
	if !errors.As(err, &ended) {
		return "", false
	}
	return ended.reason, true
}
