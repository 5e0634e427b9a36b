package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

// slowAfter is how long kshell waits without saying what for.
var slowAfter = 5 * time.Second

// answeredWithin is how long a Ctrl-C may go without any output from a command that has written nothing yet: then it ends kshell.
var answeredWithin = 2 * time.Second

// apiServer is what is known about the server as a whole. It is shared by all commands of a process, and safe for concurrent use. A nil one
// does nothing.
type apiServer struct {
	started   atomic.Bool // a command: requests beside it are not waited for
	waiting   atomic.Bool // the user was told
	selectors sync.Once   // the user was told that they are ignored
}

// podClient is pod.NewClient, with a warning for a server that ignores selectors.
func (a *app) podClient(cfg *rest.Config) (*pod.Client, error) {
	client, err := pod.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	client.Ignored = a.selectorsIgnored
	return client, nil
}

// selectorsIgnored says, once, that the server answers with objects that were not asked for.
func (a *app) selectorsIgnored() {
	if a.server == nil {
		return
	}
	a.server.selectors.Do(func() {
		a.notice.caution("the server does not honour selectors, and a cache in front of it may be the reason: objects that do not match were left out")
	})
}

// sayIfSlow has the user told when a request of cfg is not answered.
func (a *app) sayIfSlow(cfg *rest.Config) {
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return slowTransport{next, a} })
}

// slowTransport says that the server does not answer.
type slowTransport struct {
	http.RoundTripper
	app *app
}

// WrappedRoundTripper implements net.RoundTripperWrapper of apimachinery.
func (t slowTransport) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t slowTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	server, query := t.app.server, req.URL.Query()
	// A watch is no wait of the user, and what a handshake waits for is said elsewhere.
	if server == nil || server.started.Load() || req.Header.Get("Upgrade") != "" || query.Has("watch") || query.Has("follow") {
		return t.RoundTripper.RoundTrip(req)
	}
	slow := time.AfterFunc(slowAfter, func() {
		defer t.app.lastResort.onPanic()
		if !server.started.Load() && server.waiting.CompareAndSwap(false, true) {
			t.app.notice.say("waiting for the API server at %s (Ctrl-C ends it)", req.URL.Host)
		}
	})
	defer slow.Stop()
	resp, err := t.RoundTripper.RoundTrip(req)
	if err == nil {
		server.waiting.Store(false)
	}
	return resp, err
}

// untilStart bounds the time until the command of s begins, and has the user told what is waited for. WithOutput: the command writes something when
// it begins. It is called last before Run; stop is to be called after it.
func (j *job) untilStart(s *stream.Session, withOutput bool) (stop func()) {
	limit, begin, started := cmp.Or(j.cfg.Timeout, apiclient.DefaultTimeout), time.Now(), atomic.Bool{}
	s.StartTimeout, s.WithOutput = limit, withOutput
	slow := time.AfterFunc(slowAfter, func() {
		defer j.lastResort.onPanic()
		j.notice.say("waiting for %s to start the command (up to %v, Ctrl-C ends it)", j.starter(), limit)
	})
	s.OnStart = func() {
		slow.Stop()
		started.Store(true)
		if j.server != nil {
			j.server.started.Store(true)
		}
	}
	if persist := s.Persist; persist != nil {
		s.Persist = func(err error, delay time.Duration) bool {
			return time.Since(begin)+delay < limit && persist(err, delay)
		}
	}
	dial := s.Dial
	s.Dial = func(ctx context.Context) (*stream.Conn, error) {
		if started.Load() || j.prompts() { // a program that asks the user for credentials takes its time
			return dial(ctx)
		}
		ctx, cancel := context.WithDeadlineCause(ctx, begin.Add(limit), &stream.StartError{Within: limit})
		defer cancel()
		return dial(ctx)
	}
	return func() { slow.Stop() }
}

// starter names what has to start the command.
func (j *job) starter() string {
	if at := j.where(); at.seen != nil && at.seen.Pod.Spec.NodeName != "" {
		return "node " + at.seen.Pod.Spec.NodeName
	}
	return "the API server at " + j.dialer.Server()
}

// explainStart adds to a *stream.StartError what the user can do about it.
func explainStart(e *stream.StartError, at place) error {
	const hint = "--request-timeout gives it more time"
	if at.seen == nil || at.seen.Pod.Spec.NodeName == "" {
		return &hinted{fmt.Errorf("%w; it may be started later", e), hint}
	}
	node := at.seen.Pod.Spec.NodeName
	return &hinted{
		&shortError{e, fmt.Sprintf("node %s has not started the command within %v; it may do so later", node, e.Within)},
		fmt.Sprintf("kubectl get node %s shows whether it is ready; %s", node, hint),
	}
}

// missingPod reports whether err is the API server's statement that the pod that was asked for does not exist.
func missingPod(err error) bool {
	var refused *pod.RequestError
	return errors.As(err, &refused) && refused.Missing()
}

// interrupting ends a session by Ctrl-C when the command has written nothing yet, and does not answer to it either: servers that translate the
// protocol open sessions for nodes that are silent.
func (j *job) interrupting(leave context.CancelCauseFunc) {
	j.in.interrupted = func() {
		if j.out.count() > 0 {
			return
		}
		time.AfterFunc(answeredWithin, func() {
			if j.out.count() == 0 {
				leave(signalError{syscall.SIGINT})
			}
		})
	}
}
