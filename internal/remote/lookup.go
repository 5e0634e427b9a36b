package remote

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync"
	"time"

	"kshell/internal/apiclient"
	"kshell/internal/group"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

// lookup is the request for the pod of a command whose container the user has
// named. The command does not wait for the answer, because it does not depend
// on it: the answer is used for messages, for the watch of the pod, and to
// explain why the command could not be started.
type lookup struct {
	request pod.Request
	wait    time.Duration // how long to wait for the container, if it does not run

	// connecting is closed when the connection of the request is being opened.
	// The credential plugin has then run.
	connecting chan struct{}
	ended      chan struct{} // closed when the request has ended and the following fields are set
	found      *pod.Found    // nil after an error
	err        error

	running group.Group
	cancel  context.CancelFunc
}

// ResolveLater is like Resolve for a command with the options o. If r names a pod
// and a container, ResolveLater sends no request: the pod is requested while the
// command is started. If the command cannot be started because of the pod,
// the Run method of the command does what Resolve does, and then tries again.
// Nothing has run by then, because a container that does not run cannot start a
// command.
//
// ResolveLater is the same as Resolve if the attempt to start the command would
// read input, which would be lost for the next attempt: if no script runs the
// command. (The server may accept the connection, and only then report that the
// container does not run.) It is also the same with the session agent.
func ResolveLater(
	ctx context.Context, env Env, c *Cluster, r pod.Request, wait time.Duration, o Options,
) (Target, error) {
	readsInput := o.TTY && !o.Scripts || !o.TTY && o.Stdin && o.Exact == ExactNever
	if r.Container == "" || r.Target == (pod.Target{}) || r.Target.HasReplacements() || readsInput ||
		o.Resume != ResumeNever {
		return Resolve(ctx, env, c, r, wait)
	}
	l := &lookup{request: r, wait: wait, connecting: make(chan struct{}), ended: make(chan struct{})}
	return Target{Namespace: r.Namespace, Pod: r.Target.Name, Container: r.Container, lookup: l}, nil
}

// start sends the request. The caller must call end.
func (l *lookup) start(ctx context.Context, env Env, c *Cluster) {
	// A request that was refused is not repeated: if the command is refused, too,
	// Resolve repeats the request.
	ctx = apiclient.RetryContext(ctx, nil)
	ctx, l.cancel = context.WithCancel(ctx)
	connecting := sync.OnceFunc(func() { close(l.connecting) })
	traced := onConnecting(ctx, connecting)
	l.running.Go(func() {
		defer connecting()
		defer close(l.ended)
		l.found, l.err = c.Pods().Find(traced, l.request)
		switch {
		case l.err == nil:
			noteFound(env, l.found)
		case ctx.Err() == nil:
			env.Notice.Detail("pod %s was not checked: %s", l.request.Target.Name, l.err)
		}
	})
}

// onConnecting returns a context for HTTP requests. The function connecting is
// called when the connection of the first request is being opened, or when the
// request gets one that is open already. The credential plugin, if there is one,
// has then run.
func onConnecting(ctx context.Context, connecting func()) context.Context {
	connecting = sync.OnceFunc(connecting)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) { connecting() }})
}

// OnConnected returns a context for HTTP requests. The function connected is
// called when a request has got a connection, which other requests can then use,
// too, if the server supports HTTP/2. It is called once.
func OnConnected(ctx context.Context, connected func()) context.Context {
	connected = sync.OnceFunc(connected)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected() },
	})
}

// end waits for the answer until ctx ends, and then cancels the request.
func (l *lookup) end(ctx context.Context) {
	select {
	case <-l.ended:
	case <-ctx.Done():
	}
	l.cancel()
	l.running.Wait()
}

// await waits for the answer until ctx ends. It returns nil if the pod is not
// known.
func (l *lookup) await(ctx context.Context) *pod.Found {
	select {
	case <-l.ended:
		return l.found
	case <-ctx.Done():
		return nil
	}
}

// answer returns the answer, or nil if there is none yet.
func (l *lookup) answer() *pod.Found {
	select {
	case <-l.ended:
		return l.found
	default:
		return nil
	}
}

// failed reports whether the request has failed for another reason than a missing
// right to get the pod. It is false if l is nil.
func (l *lookup) failed() bool {
	if l == nil {
		return false
	}
	select {
	case <-l.ended:
		var forbidden *pod.GetForbiddenError
		return l.err != nil && !errors.As(l.err, &forbidden)
	default:
		return false
	}
}

// unresolvedError means that a command could not be started, and that the
// lookup has failed, too: probably for the same reason.
type unresolvedError struct{ refusal error }

// Error returns the text of the refusal.
func (e *unresolvedError) Error() string { return e.refusal.Error() }

// unlessResolved returns err, with which an attempt to start the command has
// failed. If the lookup of the target has failed as well, it returns an
// *unresolvedError, which ends the session.
func (t Target) unlessResolved(ctx context.Context, err error) error {
	if t.lookup == nil || err == nil {
		return err
	}
	t.lookup.await(ctx)
	if !t.lookup.failed() {
		return err
	}
	return &unresolvedError{err}
}

// whileResolving calls run, which must run the command. If the target has a
// lookup, the pod is requested at the same time. If the command could not be
// started, and the lookup has failed, whileResolving finds the container and
// waits for it, as Resolve does, and calls run a second time.
func (c *Command) whileResolving(ctx context.Context, run func() error) error {
	l := c.Target().lookup
	if l == nil {
		return run()
	}
	l.start(ctx, c.env, c.cluster)
	defer c.endLookup(ctx, l)
	select {
	case <-l.connecting:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var err error
	if l.failed() { // before a connection was opened, for example because the credential plugin failed
		err = &unresolvedError{l.err}
	} else if err = c.holdCredentials(); err == nil {
		err = run()
	}
	if !c.isUnresolved(ctx, l, err) {
		return err
	}
	t, err := c.resolve(ctx, l)
	c.setTarget(t)
	if err != nil {
		c.setMode("", "")
		return outcome.ContextCause(ctx, err)
	}
	return run()
}

// endLookup ends the lookup. If the command was started, endLookup waits for
// the answer for a short time, because the status record and the messages
// contain it. The wait is rarely needed: the answer usually arrives before the
// command has ended.
func (c *Command) endLookup(ctx context.Context, l *lookup) {
	limit := c.limits.Status
	if c.Report().Connected.IsZero() {
		limit = 0
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	l.end(ctx)
}

// isUnresolved reports whether err means that the command could not be started
// and the lookup has failed.
func (c *Command) isUnresolved(ctx context.Context, l *lookup, err error) bool {
	var unresolved *unresolvedError
	var late *stream.StartError
	if errors.As(err, &late) && c.Report().Connected.IsZero() { // the server does not answer
		l.await(ctx)
		return l.failed()
	}
	return errors.As(err, &unresolved)
}

// resolve finds the container after the lookup has failed. It repeats the
// request only if the answer may change: if the container does not run yet, or
// if a server in front of the API server has refused the request.
func (c *Command) resolve(ctx context.Context, l *lookup) (Target, error) {
	var notRunning *pod.NotRunningError
	if errors.As(l.err, &notRunning) && l.wait > 0 || apiclient.AsRefusal(l.err) != nil {
		return Resolve(ctx, c.env, c.cluster, l.request, l.wait)
	}
	return Target{}, ExplainForbidden(ctx, c.env, c.cluster, l.err)
}
