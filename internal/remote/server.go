package remote

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
	"kshell/internal/notice"
)

// ServerState is the state of the API server, as far as it is known. All
// commands of a process share it. The zero value is ready to use; it is safe
// for concurrent use.
type ServerState struct {
	started   atomic.Bool // a command was started: slow requests are no longer reported
	waiting   atomic.Bool // the user was told that the server does not answer
	selectors sync.Once   // prints the warning that the server ignores selectors
}

// ReportSlow makes clients of cfg tell the user if the server does not answer a
// request: on a terminal in a line that is shown after notice.ProgressDelay and
// removed at the end of the wait, and with a message after Limits.Slow.
func ReportSlow(env Env, cfg *rest.Config) {
	env.Limits = env.Limits.withDefaults()
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return slowTransport{next, env, prompts(cfg)} })
}

// slowTransport tells the user if the server does not answer.
type slowTransport struct {
	http.RoundTripper
	env     Env
	prompts bool // a credential plugin may prompt during the request: its line must not be overwritten
}

// WrappedRoundTripper implements apimachinery's net.RoundTripperWrapper.
func (t slowTransport) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t slowTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	server, query := t.env.Server, req.URL.Query()
	// The user does not wait for the end of a watch or a log, and Session.Run
	// itself reports a slow handshake.
	if server.started.Load() || req.Header.Get("Upgrade") != "" || query.Has("watch") || query.Has("follow") {
		return t.RoundTripper.RoundTrip(req)
	}
	var line *notice.Delayed
	if !t.prompts {
		line = t.env.Notice.ProgressAfter(notice.ProgressDelay, "waiting for the API server at "+req.URL.Host)
		defer line.End()
	}
	slow := time.AfterFunc(t.env.Limits.Slow, func() {
		defer t.env.Cleanup.OnPanic()
		if line != nil {
			line.End()
		}
		if !server.started.Load() && server.waiting.CompareAndSwap(false, true) {
			t.env.Notice.Note("waiting for the API server at %s (press Ctrl-C to cancel)", req.URL.Host)
		}
	})
	defer slow.Stop()
	resp, err := t.RoundTripper.RoundTrip(req)
	if err == nil {
		server.waiting.Store(false)
	}
	return resp, err
}

// RetryRefused returns a context for the requests that are made before a command
// is started. If a server in front of the API server refuses a GET, and the
// refusal is temporary, the GET is repeated until limit has passed since the
// first refusal. One message about this is printed.
func RetryRefused(ctx context.Context, env Env, limit time.Duration) context.Context {
	env.Limits = env.Limits.withDefaults()
	return apiclient.RetryContext(ctx, &refusedRetrier{env: env, limit: limit})
}

// refusedRetrier implements apiclient.Retrier for RetryRefused.
type refusedRetrier struct {
	env   Env
	limit time.Duration
	note  sync.Once // prints the message

	mu    sync.Mutex
	until time.Time // the time of the first refusal plus limit; zero after an answer that is not a refusal
}

// Retry implements apiclient.Retrier.
func (r *refusedRetrier) Retry(ctx context.Context, refusal apiclient.Refusal) bool {
	if r.env.Server.started.Load() || !r.allows() {
		return false
	}
	r.note.Do(func() {
		r.env.Notice.Note("%s: trying again for up to %v (press Ctrl-C to cancel)", refusal, r.limit)
	})
	timer := time.NewTimer(r.env.Limits.Retry)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// allows reports whether the next attempt would begin within the limit.
func (r *refusedRetrier) allows() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.until.IsZero() {
		r.until = now.Add(r.limit)
	}
	return !now.Add(r.env.Limits.Retry).After(r.until)
}

// Answered implements apiclient.Retrier.
func (r *refusedRetrier) Answered() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = time.Time{}
}

// SelectorIgnored warns once that the server returns objects that do not match
// the selector of the request.
func (e Env) SelectorIgnored() {
	e.Server.selectors.Do(func() {
		e.Notice.Warn("the server ignores selectors, perhaps because of a cache in front of it: " +
			"objects that do not match are ignored")
	})
}
