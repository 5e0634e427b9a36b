package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"kshell/internal/apiclient"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

const (
	// guardAfter is how long a command that is not interactive lives before its pod is watched: most are over by then.
	guardAfter = time.Second
	// lastWords is how long a server may take to say how a command ended whose container is known to have: measured, 2 to 3 s.
	lastWords = 4 * time.Second
	// reasonAfter is how long after the end of a container its pod's status may say so, and why.
	reasonAfter = 2 * time.Second
	// reasonEvery is how often the status is looked at meanwhile.
	reasonEvery = 200 * time.Millisecond
	// exitKilled is the code of what is killed with its container, exitTerminated of what the container's first process ends before it ends itself.
	exitKilled     = 137
	exitTerminated = 143
)

// oneLook bounds a look at what has become of a container, at the end.
var oneLook = time.Second

// guard looks after the pod of a session, beside it: what becomes of the pod is said, ends a session that would hang, and leads the session
// to where it goes on. A nil *guard, for a pod that may not be looked at, does nothing.
type guard struct {
	job     *job
	client  *pod.Client // for what is asked by the way: nobody is there to answer a credential plugin
	asking  *pod.Client // for what is asked before a connection is opened
	session *stream.Session
	request pod.Request // by which another pod is found
	delay   time.Duration

	// Of the session's goroutine.
	found *pod.Found
	dials int                // that gave a connection
	leave context.CancelFunc // ends the watch
	watch sync.WaitGroup

	mu    sync.Mutex
	over  string        // what has become of found; empty while it runs
	ended chan struct{} // closed when over is set
}

// errNodeSilent is why a session is given up whose node is in doubt, and was asked.
var errNodeSilent = errors.New("the node does not answer")

// fateError is the end of a container, or of what is known of it.
type fateError struct{ sentence string }

func (e *fateError) Error() string { return e.sentence }

// guarded makes a guard for s. Its end has to be called after Run.
func (j *job) guarded(ctx context.Context, s *stream.Session) *guard {
	if j.at.seen == nil {
		return nil
	}
	asking, err := j.podClient(j.cfg)
	if err != nil {
		j.notice.detail("the pod is not watched: %s", err)
		return nil
	}
	client := asking
	if j.creds != nil {
		if client, err = j.podClient(j.beside); err != nil {
			j.notice.detail("the pod is not watched: %s", err)
			return nil
		}
	}
	client.Events = j.events
	delay := guardAfter
	if j.plan.tty {
		delay = 0
	}
	g := &guard{
		job: j, delay: delay, client: client, asking: asking, session: s, found: j.at.seen, leave: func() {},
		request: pod.Request{Namespace: j.at.namespace, Target: j.plan.target, Container: j.plan.container},
		ended:   make(chan struct{}),
	}
	dial := s.Dial
	s.Dial = func(ctx context.Context) (*stream.Conn, error) {
		if g.dials > 0 {
			if err := g.next(ctx); err != nil {
				return nil, err
			}
		}
		conn, err := dial(ctx)
		if err == nil {
			g.dials++
		}
		if g.dials > 0 && g.request.Target.HasOthers() && noSuchPod(err, g.job.at.pod) { // since we looked
			err = &stream.NotYetError{Err: err}
		}
		return conn, err
	}
	opened := s.OnOpen
	s.OnOpen = func(c *stream.Conn) error {
		g.begin(ctx)
		return opened(c)
	}
	s.Judge = g.judge
	return g
}

// noSuchPod reports whether err is the API server's statement that the pod does not exist.
func noSuchPod(err error, name string) bool {
	var refused *stream.HandshakeError
	return errors.As(err, &refused) && apiclient.StatusMissing(refused.Status, "pods", name)
}

// events carries a watch through the streaming core.
func (j *job) events(ctx context.Context, path string, query url.Values, each func([]byte) error) (began bool) {
	dialer, bySPDY := j.aside.now()
	if bySPDY { // no WebSocket passes here
		return false
	}
	e := &stream.Events{Link: stream.Link{
		Dial: func(ctx context.Context) (*stream.Conn, error) {
			return dialer.Dial(ctx, stream.Request{Path: path, Query: query, Origin: true})
		},
		Reconnect: stream.ReconnectNever,
		OnOpen:    func(*stream.Conn) error { began = true; return nil },
	}, OnMessage: each}
	_ = e.Run(ctx) // the caller asks again
	return began
}

// begin watches found from now on.
func (g *guard) begin(ctx context.Context) {
	g.end()
	ctx, g.leave = context.WithCancel(ctx)
	found := g.found
	g.watch.Go(func() {
		defer g.job.lastResort.onPanic()
		select {
		case <-ctx.Done():
			return
		case <-time.After(g.delay):
		}
		err := g.client.Watch(ctx, found, func(sentence string, over bool) { g.tell(ctx, sentence, over) })
		if err != nil && ctx.Err() == nil {
			g.job.notice.detail("the pod is not watched: %s", err)
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

// tell is told what becomes of the container.
func (g *guard) tell(ctx context.Context, sentence string, over bool) {
	if over {
		g.finish(sentence)
		select {
		case <-ctx.Done(): // the server has said it
			return
		case <-time.After(lastWords):
		}
		g.session.Drop(&fateError{sentence})
		return
	}
	g.job.alert(sentence)
	if g.job.plan.tty && g.lost(ctx) { // a command may yet report its end when the node is back
		g.session.Drop(errNodeSilent)
	}
}

// lost says whether the pod's node is in doubt and does not answer. That the API server does, and keeps the socket alive, says nothing.
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

// unanswered says whether an attempt to run something has come to no node.
func unanswered(err error) bool {
	var refused *stream.HandshakeError
	var remote *stream.RemoteError
	var lost *stream.LostError
	switch {
	case errors.As(err, &refused):
		return refused.StatusCode >= http.StatusInternalServerError && !notRunning(refused)
	case errors.As(err, &remote):
		return remote.Start == stream.StartOther && !absent(remote)
	}
	return errors.As(err, &lost)
}

// absent says whether a node has no such container, or one that does not run. It may be starting it again.
func absent(e *stream.RemoteError) bool {
	return e.Start == stream.StartOther && slices.ContainsFunc([]string{"container not found", "is not running", "CONTAINER_EXITED"}, func(words string) bool {
		return strings.Contains(e.Message, words)
	})
}

func (g *guard) finish(sentence string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over == "" {
		g.over = sentence
		close(g.ended)
	}
}

// fate is what has become of the container; empty while it runs.
func (g *guard) fate() string {
	if g == nil {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.over
}

// judge is stream.Session's Judge: what ends with its container ends because of that. A session that goes on is then lost, any other has the
// reason said beside its exit code.
func (g *guard) judge(ctx context.Context, err error) error {
	var exit *stream.ExitError
	var lost *stream.LostError
	var known *fateError
	var remote *stream.RemoteError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &remote) && g.dials > 1 && absent(remote): // what has become of it is looked for before the next attempt
		return &stream.NotYetError{Err: err}
	case errors.As(err, &exit) && (exit.Code == exitKilled || exit.Code == exitTerminated):
		g.ask(ctx, true)
	case errors.As(err, &lost) && g.session.Reconnect == stream.ReconnectNever: // else the next attempt looks
		g.ask(ctx, false)
	default:
		return err
	}
	sentence := g.fate()
	switch {
	case sentence == "":
		return err
	case lost != nil, g.session.Reconnect == stream.ReconnectAlways && g.request.Target.HasOthers():
		return &stream.LostError{Err: &fateError{sentence}}
	}
	g.job.tidy()
	g.job.notice.warn("%s", sentence)
	g.job.killed = true
	return err
}

// ask asks what has become of the container. It asks again, for reasonAfter at most, if that fails, if the pod is being deleted, and with wait
// also while the status says that the container runs: the kubelet writes it after the end.
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
			_ = g.client.Watch(ctx, g.found, hear) // what is not heard in time is not known
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
	return g.client.Fate(ctx, g.found)
}

// next finds where the session goes on, before it does.
func (g *guard) next(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	next, sentence, err := g.asking.Next(ctx, g.found, g.request)
	var gone *pod.GoneError
	var refused *pod.RequestError
	switch {
	case errors.As(err, &gone):
		return &stream.NotYetError{Err: gone, Final: true}
	case errors.As(err, &refused) && refused.Missing():
		return &stream.NotYetError{Err: refused, Final: true}
	case errors.As(err, &refused): // the attempt itself will say what is wrong
		return nil
	case err != nil:
		return &stream.NotYetError{Err: err}
	case next == g.found:
		return nil
	}
	g.end()             // what the watch has to say of the old pod comes before what follows
	if g.fate() == "" { // else it has been said
		g.job.notice.warn("%s", sentence)
	}
	if next.Pod.UID != g.found.Pod.UID {
		g.job.notice.say("going on in pod %s", next.Pod.Name)
	}
	g.move(next)
	return nil
}

// move makes next the place of the session.
func (g *guard) move(next *pod.Found) {
	g.end()
	g.job.move(place{g.job.at.namespace, next.Pod.Name, next.Container, next})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.found, g.over, g.ended = next, "", make(chan struct{})
}
