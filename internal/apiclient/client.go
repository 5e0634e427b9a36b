// Package apiclient makes the HTTP clients that ask the API server for objects,
// reads its lists, and tells its own answers from those of others.
//
// It does not know what is asked for.
//
// Invariants:
//   - An answer ends: its first byte, and, unless it is a stream, its last one come
//     within the configuration's timeout, or DefaultTimeout where it has none. The
//     time that a credential plugin takes does not count.
//   - What is held in memory is bounded: MaxObject for one object, event or Status,
//     MaxPage and MaxPages for a list, MaxKept for what is kept of one. What exceeds
//     a bound is a *TooLargeError. Bytes are counted after decompression.
package apiclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
)

// DefaultTimeout bounds one request where the configuration has no timeout. An API
// server that cannot reach what it needs says so after 30 s.
const DefaultTimeout = 35 * time.Second

// The largest answers, in bytes.
const (
	MaxObject = 4 << 20  // an object, an event of a watch, a Status
	MaxPage   = 64 << 20 // a page of a list
)

// maxRetryAfter is how long client-go may wait before it asks again, at the
// server's wish; it does so ten times.
const maxRetryAfter = 3 * time.Second

// New returns a client for the API server of cfg, with its credentials, proxy and
// TLS settings. The client's transport applies the limits; its Timeout is 0, since
// that would end streams. cfg is not changed.
func New(cfg *rest.Config) (*http.Client, error) {
	cfg = rest.CopyConfig(cfg)
	within := cmp.Or(cfg.Timeout, DefaultTimeout)
	cfg.Timeout = 0
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &limiter{next, within} })
	return rest.HTTPClientFor(cfg)
}

// class is what kind of answer a request has.
type class int

const (
	object class = iota // the default
	page
	stream
)

type classKey struct{}

// Page marks the requests made with the returned context as those for a page of a
// list, which may be as large as MaxPage.
func Page(ctx context.Context) context.Context { return context.WithValue(ctx, classKey{}, page) }

// Stream marks the requests made with the returned context as those whose answers
// go on: a watch, or a log that is followed. Their length is not bounded, and the
// time only until they begin.
func Stream(ctx context.Context) context.Context { return context.WithValue(ctx, classKey{}, stream) }

// limiter is the transport that applies the limits.
type limiter struct {
	next   http.RoundTripper
	within time.Duration
}

// WrappedRoundTripper implements net.RoundTripperWrapper of apimachinery.
func (l *limiter) WrappedRoundTripper() http.RoundTripper { return l.next }

// RoundTrip implements http.RoundTripper.
func (l *limiter) RoundTrip(req *http.Request) (*http.Response, error) {
	kind, _ := req.Context().Value(classKey{}).(class)
	ctx, cancel := context.WithCancelCause(req.Context())
	late := &TimeoutError{Server: req.URL.Scheme + "://" + req.URL.Host, After: l.within}
	timer := time.AfterFunc(l.within, func() { cancel(late) })
	end := func() { timer.Stop(); cancel(nil) }
	resp, err := l.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		err = instead(ctx, late, err)
		end()
		return nil, err
	}
	capRetryAfter(resp.Header)
	b := &body{ReadCloser: resp.Body, ctx: ctx, late: late, end: end, left: MaxObject}
	switch ok := resp.StatusCode/100 == 2; {
	case ok && kind == stream:
		timer.Stop()
		b.left = -1
	case ok && kind == page:
		b.left = MaxPage
	}
	b.limit = b.left
	resp.Body = b
	return resp, nil
}

// instead returns late if that is why a request has failed, else err.
func instead(ctx context.Context, late *TimeoutError, err error) error {
	if errors.Is(context.Cause(ctx), late) {
		return late
	}
	return err
}

// capRetryAfter removes a wish to wait for long: the answer is then the failure
// that it is.
func capRetryAfter(h http.Header) {
	const name = "Retry-After"
	if s, err := strconv.Atoi(h.Get(name)); err == nil && time.Duration(s)*time.Second > maxRetryAfter {
		h.Del(name)
	}
}

// body is that of an answer.
type body struct {
	io.ReadCloser
	ctx   context.Context // of the request
	late  *TimeoutError
	end   func()
	left  int64 // negative: no limit
	limit int64
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.limit >= 0 && int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = instead(b.ctx, b.late, err)
	}
	if b.limit < 0 {
		return n, err
	}
	if int64(n) > b.left {
		n, err = int(b.left), &TooLargeError{What: "the server's answer", Limit: b.limit}
	}
	b.left -= int64(n)
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// TimeoutError means that the server did not answer in time.
type TimeoutError struct {
	Server string // scheme and host
	After  time.Duration
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("no answer from %s within %v", e.Server, e.After)
}

// Timeout is true, as of a net.Error.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary is true, as of a net.Error.
func (e *TimeoutError) Temporary() bool { return true }

// TooLargeError means that the server sent more than is read.
type TooLargeError struct {
	What  string // such as "the server's answer"
	Limit int64  // in bytes; 0 if What says it all
}

func (e *TooLargeError) Error() string {
	if e.Limit == 0 {
		return e.What
	}
	return fmt.Sprintf("%s is larger than %d MiB", e.What, e.Limit>>20)
}

// Plain returns the *TimeoutError or *TooLargeError in err without the words that
// libraries put around it, or nil if there is none.
func Plain(err error) error {
	var late *TimeoutError
	var large *TooLargeError
	switch {
	case errors.As(err, &late):
		return late
	case errors.As(err, &large):
		return large
	}
	return nil
}
