package stream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestRefusal(t *testing.T) {
	const (
		status     = `{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":%d}`
		page       = "<!DOCTYPE html><p>no</p>"
		noRight    = `pods "web" is forbidden: User "dev" cannot get resource "pods/exec" in API group ""`
		noReason   = `pods "web" is forbidden: `
		validating = `pods "web" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no shells`
		webhook    = `admission webhook "exec.example.com" denied the request: no shells`
		dialing    = "error dialing backend: dial tcp 10.0.0.7:10250: connect: connection refused"
		container  = `container not found ("c")`
	)
	tests := []struct {
		name     string
		code     int
		message  string // the message of a Status; if empty, the answer has body instead
		body     string
		location string
		want     Refusal
	}{
		{name: "bad token", code: 401, message: "Unauthorized", want: RefusalUnauthorized},
		{name: "bad token, gateway", code: 401, body: page, want: RefusalUnauthorized},
		{name: "proxy", code: 407, body: "Proxy Authentication Required", want: RefusalProxyAuth},
		{name: "slow request", code: 408, want: RefusalTimeout},
		{name: "priority and fairness", code: 429, message: "too many requests, please try again later", want: RefusalBusy},
		{name: "rate limit of a gateway", code: 429, body: page, want: RefusalBusy},
		{name: "long request line", code: 414, body: page, want: RefusalTooLong},
		{name: "long header", code: 431, want: RefusalTooLong},
		{name: "request too large", code: 413, body: page, want: RefusalTooLong},
		{name: "another protocol", code: 101, want: RefusalOtherUpgrade},
		{name: "login redirect", code: 302, location: "https://login.example/", want: RefusalRedirect},
		{name: "redirect without a target", code: 302, want: RefusalOther},
		{name: "login page", code: 200, body: page, want: RefusalWebPage},
		{name: "page of a gateway", code: 403, body: page, want: RefusalWebPage},
		{name: "page of nginx", code: 502, body: page, want: RefusalWebPage},
		{name: "no common subprotocol", code: 403, want: RefusalNoSubprotocol},
		{name: "RBAC", code: 403, message: noRight, want: RefusalNoRight},
		{name: "create is missing (1.35)", code: 403, message: noReason, want: RefusalNoReason},
		{name: "admission policy", code: 422, message: validating, want: RefusalPolicy},
		{name: "admission policy, 403", code: 403, message: validating, want: RefusalPolicy},
		{name: "admission webhook", code: 403, message: webhook, want: RefusalPolicy},
		{name: "Istio", code: 403, body: "RBAC: access denied", want: RefusalForbidden},
		{name: "no such pod", code: 404, message: `pods "web" not found`, want: RefusalNotFound},
		{name: "not an API server", code: 404, body: "404 page not found", want: RefusalUnknownPath},
		{name: "not an API server, no body", code: 404, want: RefusalUnknownPath},
		{name: "kubelet that has restarted", code: 404, body: "pod does not exist\n", want: RefusalUnavailable},
		{name: "kubelet, dead container", code: 500, body: container, want: RefusalNotRunning},
		{name: "kubelet down", code: 500, message: dialing, want: RefusalUnreachable},
		{name: "kubelet down, text", code: 500, body: dialing, want: RefusalUnreachable},
		{
			name: "kubelet without a certificate", code: 500, message: dialing + ": remote error: tls: internal error",
			want: RefusalNoCertificate,
		},
		{name: "kubelet down, 503", code: 503, message: dialing, want: RefusalUnreachable},
		{name: "upgrade removed", code: 400, message: "Upgrade request required", want: RefusalUpgradeStripped},
		{name: "upgrade removed, long", code: 400, message: "x: Upgrade request required", want: RefusalUpgradeStripped},
		{name: "no such container", code: 400, message: "container x is not valid for pod web", want: RefusalBadRequest},
		{name: "bad request of a gateway", code: 400, body: "Bad Request", want: RefusalOther},
		{name: "bad gateway", code: 502, want: RefusalUnavailable},
		{name: "Envoy", code: 503, body: "upstream connect error", want: RefusalUnavailable},
		{name: "restarting API server", code: 503, message: "apiserver is shutting down", want: RefusalUnavailable},
		{name: "gateway timeout", code: 504, body: "stream timeout", want: RefusalUnavailable},
		{name: "upgrade ignored", code: 200, want: RefusalUpgradeIgnored},
		{name: "upgrade ignored, text", code: 200, body: "ok", want: RefusalUpgradeIgnored},
		{name: "another upgrade required", code: 426, want: RefusalOther},
		{name: "internal error", code: 500, message: "etcdserver: request timed out", want: RefusalOther},
		{name: "words of RBAC in another answer", code: 500, message: noRight, want: RefusalOther},
	}
	seen := map[Refusal]bool{RefusalNone: true}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := tt.body
			if tt.message != "" {
				body = fmt.Sprintf(status, tt.message, tt.code)
			}
			refused := newHandshakeError(response(tt.code, tt.location), []byte(body))
			if got := refused.Refusal(); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
			if got := RefusalOf(fmt.Errorf("x: %w", refused)); got != tt.want {
				t.Errorf("RefusalOf: %v, want %v", got, tt.want)
			}
			seen[tt.want] = true
		})
	}
	names := slices.Clone(refusalNames[:])
	slices.Sort(names)
	if slices.Contains(names, "") || len(slices.Compact(names)) != len(refusalNames) {
		t.Errorf("names %q are not unique", refusalNames)
	}
	seen[RefusalInFront] = true // see infront_test.go
	for class := range Refusal(len(refusalNames)) {
		if !seen[class] {
			t.Errorf("no test for %v", class)
		}
	}
}

func TestRefusalOf_OtherErrors(t *testing.T) {
	for _, err := range []error{nil, errors.New("401"), &DialError{Err: errors.New("refused")}, &ProtocolError{}} {
		if got := RefusalOf(err); got != RefusalNone {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// response returns an answer without a body.
func response(code int, location string) *http.Response {
	request := &http.Request{URL: &url.URL{Scheme: "https", Host: "k"}}
	resp := &http.Response{StatusCode: code, Header: http.Header{}, Request: request}
	if location != "" {
		resp.Header.Set("Location", location)
	}
	return resp
}

func FuzzRefusal(f *testing.F) {
	f.Add(403, "", []byte(`{"kind":"Status","message":"pods \"web\" is forbidden:"}`))
	f.Add(302, "https://u:p@login.example/?token=x", []byte("<html>"))
	f.Add(500, "", []byte(`container not found ("c")`))
	f.Add(-1, ":", []byte{0xff})
	f.Fuzz(func(t *testing.T, code int, location string, body []byte) {
		refused := newHandshakeError(response(code, location), body)
		class := refused.Refusal()
		if class <= RefusalNone || int(class) >= len(refusalNames) {
			t.Errorf("class %v", class)
		}
		if code == http.StatusUnauthorized && class != RefusalUnauthorized {
			t.Errorf("401 is %v", class)
		}
		if refused.Status == nil && (class == RefusalNoRight || class == RefusalPolicy || class == RefusalNotFound) {
			t.Errorf("%v without a Status", class)
		}
		if refused.Error() == "" || len(refused.Text) > maxText {
			t.Errorf("message %q, %d bytes of text", refused, len(refused.Text))
		}
	})
}

// A kubelet that has restarted does not know its pods for some seconds.
func TestHandshakeError_RestartedKubelet(t *testing.T) {
	refused := newHandshakeError(response(http.StatusNotFound, ""), []byte("pod does not exist\n"))
	if refused.Permanent() || !temporary(refused) {
		t.Errorf("%v is permanent", refused)
	}
	if other := newHandshakeError(response(http.StatusNotFound, ""), []byte("404 page not found\n")); !other.Permanent() {
		t.Errorf("%v is not permanent", other)
	}
}

func TestHandshakeError(t *testing.T) {
	for name, c := range map[string]struct {
		code      int
		header    http.Header
		body      string
		want      string
		permanent bool
	}{
		"no such pod": {
			code: 404, header: http.Header{"Content-Type": {"application/json"}},
			body: `{"kind":"Status","apiVersion":"v1","message":"pods \"x\" not found","reason":"NotFound","code":404}`,
			want: `the server refused (404): pods "x" not found`, permanent: true,
		},
		"unknown container": {
			code: 400, body: `{"kind":"Status","message":"container x is not valid for pod y","reason":"BadRequest","code":400}`,
			want: "the server refused (400): container x is not valid for pod y", permanent: true,
		},
		"bad token": {
			code: 401, body: `{"kind":"Status","message":"Unauthorized","reason":"Unauthorized","code":401}`,
			want: "the server refused (401): Unauthorized", permanent: true,
		},
		"no common subprotocol": {
			code: 403, want: "the server refused (403 Forbidden) and gave no reason", permanent: true,
		},
		"container not running": {
			code: 500, body: "container not found (\"c\")\n",
			want: `the server refused (500): container not found ("c")`,
		},
		"gateway": {code: 502, want: "the server refused (502 Bad Gateway) and gave no reason"},
		"login page": {
			code: 200, header: http.Header{"Content-Type": {"text/html; charset=utf-8"}}, body: "<html>log in</html>",
			want: "the server answered with a web page (200), not as a Kubernetes API", permanent: true,
		},
		"page without a content type": {
			code: 503, body: "<!DOCTYPE html><p>down</p>",
			want: "the server answered with a web page (503), not as a Kubernetes API",
		},
		"login redirect": {
			code: 302, header: http.Header{"Location": {"https://login.example/"}},
			want: "the server redirects (302) to https://login.example/: the redirect was not followed", permanent: true,
		},
		"upgrade ignored": {code: 200, want: "the server ignored the request to upgrade to WebSocket (200)", permanent: true},
		"too busy":        {code: 429, body: "slow down", want: "the server refused (429): slow down"},
		"large answer": {
			code: 400, body: strings.Repeat("x", 1<<20),
			want: "the server refused (400): " + strings.Repeat("x", 1<<10), permanent: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header()[k] = v
				}
				w.WriteHeader(c.code)
				_, _ = w.Write([]byte(c.body))
			})
			_, err := d.dialFunc(V5)(t.Context())
			var refused *HandshakeError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want a HandshakeError", err)
			}
			if refused.Error() != c.want || refused.Permanent() != c.permanent {
				t.Errorf("got  %s\nwant %s\npermanent %v", refused, c.want, refused.Permanent())
			}
			if refused.StatusCode != c.code {
				t.Errorf("code %d", refused.StatusCode)
			}
		})
	}
}
