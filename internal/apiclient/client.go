// Package apiclient provides HTTP clients for the API server with limits on
// time and size, reads lists page by page, distinguishes answers of the API
// server from those of proxies and other servers (refusal.go), and returns hints
// for failed connections (connect.go), credential plugins (plugin.go) and such
// answers (answer.go). It also determines which credentials a configuration has
// (credentials.go).
//
// It does not know which objects are requested, or how a failed request is
// handled.
//
// Invariants:
//   - The time of a request is limited: the response headers and, unless the
//     response is a stream, the whole body arrive within rest.Config.Timeout,
//     or DefaultTimeout if that is 0. Otherwise the error is a *TimeoutError.
//     The time that a credential plugin takes does not count.
//   - The memory for a response is limited: MaxObject for one object, event or
//     Status, MaxPage and MaxPages for a list, MaxKept for the objects of a
//     list that are kept. Beyond a limit the error is a *TooLargeError. Limits
//     count bytes after decompression.
package apiclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
)

// DefaultTimeout limits a request if rest.Config.Timeout is 0. It is longer
// than the 30 s after which an API server reports that it cannot reach a
// backend.
const DefaultTimeout = 35 * time.Second

// Size limits of responses, in bytes.
const (
	MaxObject = 4 << 20  // an object, an event of a watch, a Status
	MaxPage   = 64 << 20 // a page of a list
)

// maxRetryAfter is the longest Retry-After that is passed on to client-go, which
// waits for that time before it repeats a request, up to ten times.
const maxRetryAfter = 3 * time.Second

// New returns a client for the API server of cfg, with its credentials, proxy
// and TLS settings. The transport applies the limits; http.Client.Timeout is 0,
// because it would also end streams. If a Refusal explains an answer, the
// request fails with it. After the answer 401, a request is repeated once if
// the credential plugin or the token file has a new token, and the body, if
// any, can be sent again. cfg is not changed. The client is safe for concurrent
// use.
func New(cfg *rest.Config) (*http.Client, error) { return newClient(cfg, true) }

// NewWithoutRenewal is like New, but the client does not repeat a request after
// the answer 401.
func NewWithoutRenewal(cfg *rest.Config) (*http.Client, error) { return newClient(cfg, false) }

func newClient(cfg *rest.Config, renews bool) (*http.Client, error) {
	cfg = rest.CopyConfig(cfg)
	timeout := cmp.Or(cfg.Timeout, DefaultTimeout)
	cfg.Timeout = 0
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &limiter{next, timeout} })
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	own := *client // a copy, because client may be http.DefaultClient
	transport := PluginErrors(cfg, cmp.Or(client.Transport, http.DefaultTransport))
	if renews && (cfg.ExecProvider != nil || cfg.BearerTokenFile != "") {
		transport = renewal{transport, cfg}
	}
	own.Transport = refusals{transport}
	return &own, nil
}

// class is the kind of response to a request.
type class int

const (
	object class = iota // the default
	page
	stream
)

type classKey struct{}

// PageContext returns a context whose requests read one page of a list: the
// response may have up to MaxPage bytes.
func PageContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, classKey{}, page)
}

// StreamContext returns a context whose requests read a stream: a watch, or a
// log that is followed. The length of the response is not limited, and the
// timeout applies only until the response headers.
func StreamContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, classKey{}, stream)
}

// limiter is the transport that applies the limits.
type limiter struct {
	next    http.RoundTripper
	timeout time.Duration
}

// WrappedRoundTripper implements RoundTripperWrapper of
// k8s.io/apimachinery/pkg/util/net.
func (l *limiter) WrappedRoundTripper() http.RoundTripper { return l.next }

// RoundTrip implements http.RoundTripper.
func (l *limiter) RoundTrip(req *http.Request) (*http.Response, error) {
	kind, _ := req.Context().Value(classKey{}).(class)
	ctx, cancel := context.WithCancelCause(req.Context())
	timeoutErr := &TimeoutError{Server: req.URL.Scheme + "://" + req.URL.Host, After: l.timeout}
	timer := time.AfterFunc(l.timeout, func() { cancel(timeoutErr) })
	release := func() { timer.Stop(); cancel(nil) }
	resp, err := l.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		err = orTimeout(ctx, timeoutErr, err)
		release()
		return nil, err
	}
	refusal := RefusalIn(resp)
	if mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode/100 == 2 &&
		mediaType == "text/html" && refusal == nil {
		_ = resp.Body.Close() // the body is not used
		release()
		return nil, &PageError{resp.StatusCode}
	}
	dropLongRetryAfter(resp.Header)
	b := &body{
		ReadCloser: resp.Body, ctx: ctx, timeoutErr: timeoutErr, release: release, remaining: MaxObject, refusal: refusal,
	}
	switch ok := resp.StatusCode/100 == 2; {
	case ok && kind == stream:
		timer.Stop()
		b.remaining = -1
	case ok && kind == page:
		b.remaining = MaxPage
	}
	b.limit = b.remaining
	resp.Body = b
	return resp, nil
}

// orTimeout returns timeoutErr if that is the cause why ctx was canceled, else
// err. If err is a *ConnectError, timeoutErr replaces the error that it wraps.
func orTimeout(ctx context.Context, timeoutErr *TimeoutError, err error) error {
	var failed *ConnectError
	switch {
	case !errors.Is(context.Cause(ctx), timeoutErr):
		return err
	case errors.As(err, &failed):
		late := *failed
		timeoutErr.Server = cmp.Or(late.Origin.Server, timeoutErr.Server)
		late.Err = timeoutErr
		return &late
	}
	return timeoutErr
}

// dropLongRetryAfter removes a Retry-After of more than maxRetryAfter.
// client-go then returns the error of the response at once.
func dropLongRetryAfter(h http.Header) {
	const name = "Retry-After"
	if s, err := strconv.Atoi(h.Get(name)); err == nil && time.Duration(s)*time.Second > maxRetryAfter {
		h.Del(name)
	}
}

// body is a response body with a timeout and a size limit. Like any response
// body, it is read by one goroutine at a time.
type body struct {
	io.ReadCloser
	ctx        context.Context // of the request
	timeoutErr *TimeoutError
	release    func() // stops the timer and cancels ctx
	remaining  int64  // bytes that may still be read
	limit      int64  // bytes; negative: no limit
	refusal    Refusal
}

// Refusal returns the Refusal of the answer, or nil; see RefusalIn.
func (b *body) Refusal() error { return b.refusal }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.limit >= 0 && int64(len(p)) > b.remaining+1 {
		p = p[:b.remaining+1]
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = orTimeout(b.ctx, b.timeoutErr, err)
	}
	if b.limit < 0 {
		return n, err
	}
	if int64(n) > b.remaining {
		n, err = int(b.remaining), &TooLargeError{What: "the server's answer", Limit: b.limit}
	}
	b.remaining -= int64(n)
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

// TimeoutError means that the server did not answer in time.
type TimeoutError struct {
	Server string        // the URL of the server
	After  time.Duration // the timeout
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("no answer from %s within %v", e.Server, e.After)
}

// Timeout implements net.Error.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary implements net.Error.
func (e *TimeoutError) Temporary() bool { return true }

// TooLargeError means that a response exceeds a size limit.
type TooLargeError struct {
	What  string // the subject of the message: "the server's answer"
	Limit int64  // in bytes; 0 if What is the whole message
}

func (e *TooLargeError) Error() string {
	if e.Limit == 0 {
		return e.What
	}
	return fmt.Sprintf("%s is larger than %d MiB", e.What, e.Limit>>20)
}

// LimitError returns the *TimeoutError or *TooLargeError that err wraps, or nil
// if err wraps neither. The returned error does not contain the text that
// libraries have added to err.
func LimitError(err error) error {
	var timeout *TimeoutError
	var large *TooLargeError
	switch {
	case errors.As(err, &timeout):
		return timeout
	case errors.As(err, &large):
		return large
	}
	return nil
}
