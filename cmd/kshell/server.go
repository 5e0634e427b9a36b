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

// untilStart bounds the time until the command of s begins, and tells the user what is waited for. withOutput says that the command writes something
// when it begins. untilStart is called last before Run, which gets the context that it returns; stop must be called after Run.
func (j *job) untilStart(ctx context.Context, s *stream.Session, withOutput bool) (running context.Context, stop func()) {
	running, end := context.WithCancelCause(ctx)
	limit, begin, started := cmp.Or(j.cfg.Timeout, apiclient.DefaultTimeout), time.Now(), make(chan struct{})
	s.StartTimeout, s.WithOutput = limit, withOutput
	slow := time.AfterFunc(slowAfter, func() {
		defer j.lastResort.onPanic()
		j.sayStarting(limit)
	})
	s.OnStart = sync.OnceFunc(func() {
		slow.Stop()
		close(started)
		if j.server != nil {
			j.server.started.Store(true)
		}
	})
	if persist := s.Persist; persist != nil {
		s.Persist = func(err error, delay time.Duration) bool {
			return time.Since(begin)+delay < limit && persist(err, delay)
		}
	}
	if j.prompts() { // a program that asks the user for credentials takes its time
		return running, func() { slow.Stop(); end(nil) }
	}
	dial := s.Dial
	s.Dial = func(ctx context.Context) (*stream.Conn, error) {
		select {
		case <-started:
			return dial(ctx)
		default:
		}
		ctx, cancel := context.WithDeadlineCause(ctx, begin.Add(limit), &stream.StartError{Within: limit})
		defer cancel()
		return dial(ctx)
	}
	var probe sync.WaitGroup
	if !withOutput {
		probe.Go(func() {
			defer j.lastResort.onPanic()
			select {
			case <-running.Done():
			case <-started:
				j.probe(running, end, limit, begin.Add(limit))
			}
		})
	}
	return running, func() {
		slow.Stop()
		end(nil)
		probe.Wait()
	}
}

// probe ends a session whose server has opened it, and whose command writes nothing, if the node does not answer until the deadline: another
// command is run there. An answer of any kind means that the command runs, and is silent.
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
		defer j.lastResort.onPanic()
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
	j.notice.say("waiting for %s to start the command (up to %v, Ctrl-C ends it)", j.starter(), limit)
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
// Received counts what the command has written.
func (j *job) interrupting(leave context.CancelCauseFunc, received *counter) {
	j.in.interrupted = func() {
		if received.count() > 0 {
			return
		}
		time.AfterFunc(answeredWithin, func() {
			if received.count() == 0 {
				leave(signalError{syscall.SIGINT})
			}
		})
	}
}
