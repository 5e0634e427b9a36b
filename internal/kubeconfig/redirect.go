package kubeconfig

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// RedirectError means that a server redirected a request to another scheme,
// host or port. The redirect is not followed, because credentials must reach
// only the server that they were configured for.
type RedirectError struct {
	StatusCode int    // HTTP
	Location   string // without user info, query and fragment; may hold control characters
}

// Error returns the status code and the location.
func (e *RedirectError) Error() string {
	return fmt.Sprintf("the server redirects (%d) to %s, which is another scheme, host or port: "+
		"the redirect was not followed", e.StatusCode, e.Location)
}

// RedirectCode returns StatusCode. internal/headlamp uses it.
func (e *RedirectError) RedirectCode() int { return e.StatusCode }

// Hint tells the user what to check.
func (e *RedirectError) Hint() string {
	return "if that is the address of the API server, set it with --server or in the kubeconfig; " +
		"otherwise a login page or a gateway may be in front of the API server"
}

// SameOrigin returns a transport that wraps rt and refuses redirects to another
// scheme, host or port: RoundTrip then fails with a *RedirectError. It returns
// other redirects to http.Client, which follows them; rt adds credentials to
// each new request as usual. Responses to requests with an Upgrade header are
// returned unchanged, since their callers follow no redirect.
func SameOrigin(rt http.RoundTripper) http.RoundTripper { return sameOrigin{rt} }

type sameOrigin struct{ http.RoundTripper }

var _ utilnet.RoundTripperWrapper = sameOrigin{}

// WrappedRoundTripper implements utilnet.RoundTripperWrapper.
func (o sameOrigin) WrappedRoundTripper() http.RoundTripper { return o.RoundTripper }

// CloseIdleConnections is called by the method of that name of http.Client.
func (o sameOrigin) CloseIdleConnections() { utilnet.CloseIdleConnectionsFor(o.RoundTripper) }

// RoundTrip implements http.RoundTripper.
func (o sameOrigin) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := o.RoundTripper.RoundTrip(req)
	if err != nil || req.Header.Get("Upgrade") != "" || !redirects(resp) {
		return resp, err
	}
	location, err := req.URL.Parse(resp.Header.Get("Location"))
	if err == nil && originOf(location) == originOf(req.URL) {
		return resp, nil
	}
	_ = resp.Body.Close() // the body is not used
	refused := &RedirectError{StatusCode: resp.StatusCode, Location: "an address that cannot be read"}
	if err == nil {
		location.User, location.RawQuery, location.Fragment = nil, "", ""
		refused.Location = location.String()
	}
	return nil, refused
}

// redirects reports whether resp is a redirect that an http.Client follows.
func redirects(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return resp.Header.Get("Location") != ""
	}
	return false
}

// originOf returns the scheme, host and port of u in a comparable form.
func originOf(u *url.URL) [3]string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case u.Scheme == "http":
		port = "80"
	}
	return [3]string{u.Scheme, strings.ToLower(u.Hostname()), port} // url.Parse has converted the scheme to lower case
}
