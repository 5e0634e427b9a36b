package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"kshell/internal/cleanup"
	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

// slowAfter is how long kshell waits for the server before it tells the user.
var slowAfter = 5 * time.Second

// answeredWithin is how long a command that has written nothing yet may take to
// write something after Ctrl-C. If it does not, Ctrl-C ends kshell.
var answeredWithin = 2 * time.Second

// apiServer holds what is known about the server. It is shared by all commands of a
// process, and safe for concurrent use. A nil *apiServer does nothing.
type apiServer struct {
	started   atomic.Bool // a command was started: the user does not wait for requests
	waiting   atomic.Bool // the user was told that the server does not answer
	selectors sync.Once   // tells the user that the server ignores selectors
}

// podClient returns a pod.Client that warns if the server ignores selectors.
func (a *app) podClient(cfg *rest.Config) (*pod.Client, error) {
	client, err := pod.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	client.OnSelectorIgnored = a.selectorsIgnored
	return client, nil
}

// selectorsIgnored warns once that the server returns objects that do not match the
// selector of the request.
func (a *app) selectorsIgnored() {
	if a.server == nil {
		return
	}
	a.server.selectors.Do(func() {
		a.notice.Warn("the server does not honour selectors, perhaps because of a cache in front of it: " +
			"objects that do not match are ignored")
	})
}

// sayIfSlow makes clients of cfg tell the user if a request takes longer than
// slowAfter.
func (a *app) sayIfSlow(cfg *rest.Config) {
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return slowTransport{next, a} })
}

// slowTransport tells the user if the server does not answer within slowAfter.
type slowTransport struct {
	http.RoundTripper
	app *app
}

// WrappedRoundTripper implements apimachinery's net.RoundTripperWrapper.
func (t slowTransport) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t slowTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	server, query := t.app.server, req.URL.Query()
	// The user does not wait for a watch, and session.Run reports a slow handshake.
	if server == nil || server.started.Load() || req.Header.Get("Upgrade") != "" || query.Has("watch") || query.Has("follow") {
		return t.RoundTripper.RoundTrip(req)
	}
	slow := time.AfterFunc(slowAfter, func() {
		defer t.app.cleanup.OnPanic()
		if !server.started.Load() && server.waiting.CompareAndSwap(false, true) {
			t.app.notice.Note("waiting for the API server at %s (Ctrl-C ends it)", req.URL.Host)
		}
	})
	defer slow.Stop()
	resp, err := t.RoundTripper.RoundTrip(req)
	if err == nil {
		server.waiting.Store(false)
	}
	return resp, err
}

// session is a stream.Session that tells the user what kshell is waiting for until the
// command starts. It ends if the node does not answer within the StartTimeout.
type session struct {
	*stream.Session
	job      *job
	observer func(stream.Event)
	limit    time.Duration
	probes   bool // the command writes nothing when it starts, so the node is asked
	slow     *time.Timer
	started  chan struct{} // closed when the command has started
}

// newSession returns a session. observer is called with its events.
func (j *job) newSession(d stream.Driver, observer func(stream.Event), set stream.Settings) *session {
	s := &session{
		job: j, observer: observer, limit: set.StartTimeout, started: make(chan struct{}),
		probes: !set.WithOutput && !set.UnlimitedDial,
	}
	s.Session = stream.NewSession(d, s.observe, set)
	return s
}

func (s *session) observe(e stream.Event) {
	if _, ok := e.(stream.Started); ok {
		s.slow.Stop()
		close(s.started)
		if s.job.server != nil {
			s.job.server.started.Store(true)
		}
	}
	s.observer(e)
}

// Run runs the session; see stream.Session.Run.
func (s *session) Run(ctx context.Context) error {
	begin := time.Now()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	s.slow = time.AfterFunc(slowAfter, func() {
		defer s.job.cleanup.OnPanic()
		s.job.sayStarting(s.limit)
	})
	defer s.slow.Stop()
	var probe sync.WaitGroup
	defer probe.Wait()
	defer end(nil)
	if s.probes {
		probe.Go(func() {
			defer s.job.cleanup.OnPanic()
			select {
			case <-ctx.Done():
			case <-s.started:
				s.job.probe(ctx, end, s.limit, begin.Add(s.limit))
			}
		})
	}
	return s.Session.Run(ctx)
}

// probe finds out whether the node of an opened session answers, if the command
// writes nothing: it runs another command there. Any answer means that the session's
// command is running without output. If there is no answer until the deadline, probe
// ends the session.
func (j *job) probe(ctx context.Context, end context.CancelCauseFunc, limit time.Duration, deadline time.Time) {
	silent := func() bool { return ctx.Err() == nil && j.out.count() == 0 && j.err.count() == 0 }
	select {
	case <-ctx.Done():
	case <-time.After(min(slowAfter, limit/2)):
	}
	if !silent() {
		return
	}
	slow := time.AfterFunc(slowAfter, func() {
		defer j.cleanup.OnPanic()
		if silent() {
			j.sayStarting(limit)
		}
	})
	defer slow.Stop()
	asking, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	err := j.quietly(asking, j.where(), []string{"true"})
	if err != nil && errors.Is(asking.Err(), context.DeadlineExceeded) && silent() {
		end(&stream.StartError{Within: limit})
	}
}

func (j *job) sayStarting(limit time.Duration) {
	j.notice.Note("waiting for %s to start the command (up to %v, Ctrl-C ends it)", j.starter(), limit)
}

// starter names the node that has to start the command, or the API server if the
// node is not known.
func (j *job) starter() string {
	if at := j.where(); at.seen != nil && at.seen.Pod.Spec.NodeName != "" {
		return "node " + at.seen.Pod.Spec.NodeName
	}
	return "the API server at " + j.dialer.Server()
}

// explainStart adds a hint to a *stream.StartError.
func explainStart(e *stream.StartError, at place) error {
	const hint = "--request-timeout allows more time"
	if at.seen == nil || at.seen.Pod.Spec.NodeName == "" {
		return notice.WithHint(fmt.Errorf("%w; the command may still be started later", e), hint)
	}
	node := at.seen.Pod.Spec.NodeName
	return notice.WithHint(
		notice.WithMessage(e, fmt.Sprintf("node %s has not started the command within %v; the command may still be started later", node, e.Within)),
		fmt.Sprintf("kubectl get node %s shows whether it is ready; %s", node, hint),
	)
}

// missingPod reports whether err is an answer of the API server that the requested
// pod does not exist.
func missingPod(err error) bool {
	var refused *pod.RequestError
	return errors.As(err, &refused) && refused.NotFound()
}

// interrupting makes Ctrl-C end a session whose command has written nothing, if
// nothing is written within answeredWithin either. Servers that translate the
// protocol open a session even if the node does not answer. received counts the
// command's output.
func (j *job) interrupting(leave context.CancelCauseFunc, received *counter) {
	j.in.interrupted = func() {
		if received.count() > 0 {
			return
		}
		time.AfterFunc(answeredWithin, func() {
			if received.count() == 0 {
				leave(cleanup.SignalError{Signal: syscall.SIGINT})
			}
		})
	}
}
