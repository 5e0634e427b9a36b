package apiclient

import (
	"net/http"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// renewal is a transport that repeats a request once if the answer is 401 and
// the credential plugin or the token file of cfg then has a new token. The
// transport of client-go does not repeat requests: it only runs the plugin again
// after a 401. It keeps the contents of a token file for up to a minute.
type renewal struct {
	http.RoundTripper
	cfg *rest.Config
}

// WrappedRoundTripper implements RoundTripperWrapper of
// k8s.io/apimachinery/pkg/util/net.
func (t renewal) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

// CloseIdleConnections is called by the method of that name of http.Client.
func (t renewal) CloseIdleConnections() { utilnet.CloseIdleConnectionsFor(t.RoundTripper) }

// RoundTrip implements http.RoundTripper.
func (t renewal) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || req.Body != nil && req.GetBody == nil {
		return resp, err
	}
	renewed, err := ResolveCredentials(t.cfg)
	if err != nil || renewed.Token == "" || resp.Request == nil ||
		resp.Request.Header.Get("Authorization") == "Bearer "+renewed.Token {
		return resp, nil //nolint:nilerr // without a new token, the 401 is returned
	}
	again := req.Clone(req.Context())
	// The transport of client-go does not replace this header, and does not run
	// the plugin if the answer to this request is 401, too.
	again.Header.Set("Authorization", "Bearer "+renewed.Token)
	if req.Body != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return resp, nil //nolint:nilerr // the request cannot be repeated: the 401 is returned
		}
	}
	_ = resp.Body.Close() // the body is not used
	return t.RoundTripper.RoundTrip(again)
}
