package apiclient

import (
	"context"
	"errors"
	"net/http"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// Refusal is an error that explains an answer to a request through a server in
// front of the API server. The *Refusal of internal/headlamp implements it.
type Refusal interface {
	error
	// Hint tells the user what to do; "" if there is nothing to add.
	Hint() string
	// Permanent reports whether the same request would be refused again.
	Permanent() bool
	// HTTPStatus returns the status code of the answer.
	HTTPStatus() int
}

// AsRefusal returns the Refusal that err wraps, or nil.
func AsRefusal(err error) Refusal {
	var refusal Refusal
	if !errors.As(err, &refusal) {
		return nil
	}
	return refusal
}

// RefusalIn returns the Refusal that explains resp, or nil. To attach a Refusal
// to a response, a transport gives it a Body with the method Refusal() error.
func RefusalIn(resp *http.Response) Refusal {
	body, ok := resp.Body.(interface{ Refusal() error })
	if !ok {
		return nil
	}
	return AsRefusal(body.Refusal())
}

// Retrier decides whether a GET that was refused is repeated. It must be safe
// for concurrent use.
type Retrier interface {
	// Retry waits until the request should be repeated, and returns true. It
	// returns false if the request should not be repeated, or if ctx ends.
	Retry(ctx context.Context, refusal Refusal) bool
	// Answered is called after an answer that is not a Refusal.
	Answered()
}

type retrierKey struct{}

// RetryContext returns a context for requests of clients of New. If a GET is
// refused, and the Refusal is not permanent, r decides whether the GET is
// repeated.
func RetryContext(ctx context.Context, r Retrier) context.Context {
	return context.WithValue(ctx, retrierKey{}, r)
}

// refusals is a transport that returns the Refusal of an answer as an error. It
// is outside the transports that add credentials, because they renew the
// credentials only after a response with the status 401.
type refusals struct{ http.RoundTripper }

// WrappedRoundTripper implements RoundTripperWrapper of
// k8s.io/apimachinery/pkg/util/net.
func (t refusals) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

// CloseIdleConnections is called by the method of that name of http.Client.
func (t refusals) CloseIdleConnections() { utilnet.CloseIdleConnectionsFor(t.RoundTripper) }

// RoundTrip implements http.RoundTripper.
func (t refusals) RoundTrip(req *http.Request) (*http.Response, error) {
	retrier, _ := req.Context().Value(retrierKey{}).(Retrier)
	for {
		resp, err := t.RoundTripper.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		refusal := RefusalIn(resp)
		if refusal == nil {
			if retrier != nil {
				retrier.Answered()
			}
			return resp, nil
		}
		_ = resp.Body.Close() // the refusal describes the answer
		if retrier == nil || req.Method != http.MethodGet || refusal.Permanent() || !retrier.Retry(req.Context(), refusal) {
			return nil, refusal
		}
	}
}
