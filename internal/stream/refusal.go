package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/apiclient"
)

// Refusal is the class of a refused handshake. A class says what the server
// answered, and not what the caller should do.
type Refusal int

// The classes of refusals. "Status" means a metav1.Status, which only the API
// server returns; a gateway or a proxy returns text, a web page or nothing.
const (
	// RefusalNone means that the error is not a refusal.
	RefusalNone Refusal = iota
	// RefusalOther means that the answer belongs to none of the classes below.
	RefusalOther
	// RefusalUnauthorized means that the server does not accept the credentials
	// (401).
	RefusalUnauthorized
	// RefusalProxyAuth means that a proxy does not accept the credentials
	// (407).
	RefusalProxyAuth
	// RefusalTimeout means that the request took too long to arrive (408).
	RefusalTimeout
	// RefusalBusy means that the server has too many requests (429).
	RefusalBusy
	// RefusalTooLong means that the request line or the header is too long
	// (414, 431, and 413 from some gateways).
	RefusalTooLong
	// RefusalOtherUpgrade means that the server upgraded to another protocol
	// (101). The command may have been started.
	RefusalOtherUpgrade
	// RefusalRedirect means a redirect, probably to a login page.
	RefusalRedirect
	// RefusalWebPage means an HTML page.
	RefusalWebPage
	// RefusalNoSubprotocol means 403 without a body: the API server supports
	// none of the subprotocols offered (or, for a watch, the Origin is
	// missing).
	RefusalNoSubprotocol
	// RefusalNoRight means that the user lacks a right (403 and a Status with
	// the message of an authorizer).
	RefusalNoRight
	// RefusalNoReason means 403 and a Status that gives no reason. Kubernetes
	// 1.35 and later answer like this if only the verb create is missing.
	RefusalNoReason
	// RefusalPolicy means that an admission policy denied the request (a Status
	// with 403 or 422; 422 is the default of a ValidatingAdmissionPolicy).
	RefusalPolicy
	// RefusalForbidden means 403 with a text that is not from the API server.
	RefusalForbidden
	// RefusalNotFound means that the API server does not know the object (404
	// and a Status).
	RefusalNotFound
	// RefusalUnknownPath means 404 without a Status: the server is not an API
	// server, or the path before the API is wrong.
	RefusalUnknownPath
	// RefusalNotRunning means that the kubelet has no such container, because
	// it is not running.
	RefusalNotRunning
	// RefusalNoCertificate means that the API server cannot connect to the
	// kubelet, because the kubelet has no serving certificate.
	RefusalNoCertificate
	// RefusalUnreachable means that the API server cannot connect to the
	// kubelet.
	RefusalUnreachable
	// RefusalUpgradeStripped means that the request reached the API server
	// without the headers that ask for an upgrade: a gateway has removed them.
	RefusalUpgradeStripped
	// RefusalBadRequest means that the API server considers the request invalid
	// (400 and a Status), for example because the pod has several containers
	// and none is named.
	RefusalBadRequest
	// RefusalUnavailable means that the server, or the upstream server of a
	// gateway, is temporarily unavailable (502, 503, 504), or that the kubelet
	// has just started and does not know its pods yet (404 and the text "pod
	// does not exist").
	RefusalUnavailable
	// RefusalUpgradeIgnored means that the server answered as if no upgrade had
	// been requested (200).
	RefusalUpgradeIgnored
	// RefusalInFront means that a server in front of the API server has
	// answered, and that HandshakeError.Err explains the answer. If the status
	// is 401, the class is RefusalUnauthorized instead.
	RefusalInFront
)

var refusalNames = [...]string{
	RefusalNone:            "none",
	RefusalOther:           "other",
	RefusalUnauthorized:    "unauthorized",
	RefusalProxyAuth:       "proxy-auth",
	RefusalTimeout:         "timeout",
	RefusalBusy:            "busy",
	RefusalTooLong:         "too-long",
	RefusalOtherUpgrade:    "other-upgrade",
	RefusalRedirect:        "redirect",
	RefusalWebPage:         "web-page",
	RefusalNoSubprotocol:   "no-subprotocol",
	RefusalNoRight:         "no-right",
	RefusalNoReason:        "no-reason",
	RefusalPolicy:          "policy",
	RefusalForbidden:       "forbidden",
	RefusalNotFound:        "not-found",
	RefusalUnknownPath:     "unknown-path",
	RefusalNotRunning:      "not-running",
	RefusalNoCertificate:   "no-certificate",
	RefusalUnreachable:     "unreachable",
	RefusalUpgradeStripped: "upgrade-stripped",
	RefusalBadRequest:      "bad-request",
	RefusalUnavailable:     "unavailable",
	RefusalUpgradeIgnored:  "upgrade-ignored",
	RefusalInFront:         "in-front",
}

// String returns the name of the class.
func (r Refusal) String() string {
	if r < 0 || int(r) >= len(refusalNames) {
		return fmt.Sprintf("Refusal(%d)", int(r))
	}
	return refusalNames[r]
}

// RefusalOf returns the class of the *HandshakeError in err, or RefusalNone if
// err does not contain a *HandshakeError.
func RefusalOf(err error) Refusal {
	var refused *HandshakeError
	if !errors.As(err, &refused) {
		return RefusalNone
	}
	return refused.Refusal()
}

// answer is the form of an answer to a handshake.
type answer int

const (
	answerAny      answer = iota
	answerEmpty           // no body
	answerStatus          // a metav1.Status
	answerText            // any other text
	answerPage            // HTML
	answerRedirect        // a redirect with a target
)

// refusalRules is the only place that searches for text in the answer to a
// handshake. The first rule that matches gives the class; a field that is not
// set matches everything. The texts are those of k8s.io/apiserver
// (responsewriters), k8s.io/apimachinery (util/proxy) and the kubelet.
var refusalRules = []struct {
	class    Refusal
	codes    codes
	answer   answer
	contains string // in the message
	ends     string // at the end of the message
}{
	{class: RefusalUnauthorized, codes: codes{http.StatusUnauthorized}},
	{class: RefusalProxyAuth, codes: codes{http.StatusProxyAuthRequired}},
	{class: RefusalTimeout, codes: codes{http.StatusRequestTimeout}},
	{class: RefusalBusy, codes: codes{http.StatusTooManyRequests}},
	{class: RefusalTooLong, codes: codes{
		http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge,
	}},
	{class: RefusalOtherUpgrade, codes: codes{http.StatusSwitchingProtocols}},
	{class: RefusalRedirect, answer: answerRedirect},
	{class: RefusalWebPage, answer: answerPage},
	{class: RefusalNoSubprotocol, codes: codes{http.StatusForbidden}, answer: answerEmpty},
	{class: RefusalNoRight, codes: codes{http.StatusForbidden}, answer: answerStatus, contains: " cannot "},
	{class: RefusalNoReason, codes: codes{http.StatusForbidden}, answer: answerStatus, ends: "is forbidden:"},
	{class: RefusalPolicy, codes: codes{http.StatusForbidden, http.StatusUnprocessableEntity}, answer: answerStatus},
	{class: RefusalForbidden, codes: codes{http.StatusForbidden}},
	{class: RefusalNotFound, codes: codes{http.StatusNotFound}, answer: answerStatus},
	{
		class: RefusalUnavailable, codes: codes{http.StatusNotFound}, answer: answerText,
		contains: "pod does not exist",
	},
	{class: RefusalUnknownPath, codes: codes{http.StatusNotFound}},
	{class: RefusalNotRunning, answer: answerText, contains: "container not found"},
	{class: RefusalNoCertificate, contains: "remote error: tls: internal error"},
	{class: RefusalUnreachable, contains: "error dialing backend"},
	{class: RefusalUpgradeStripped, answer: answerStatus, contains: "pgrade request required"},
	{class: RefusalBadRequest, codes: codes{http.StatusBadRequest}, answer: answerStatus},
	{class: RefusalUnavailable, codes: codes{
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	}},
	{class: RefusalUpgradeIgnored, codes: codes{http.StatusOK}},
}

// codes are HTTP status codes. An empty list matches every code.
type codes []int

func (c codes) match(code int) bool { return len(c) == 0 || slices.Contains(c, code) }

// HandshakeError means that a server answered the handshake with something
// other than the requested protocol. Only after a RefusalOtherUpgrade may the
// command have been started.
type HandshakeError struct {
	StatusCode int            // the HTTP status code
	Status     *metav1.Status // the Status that the server sent, or nil
	Text       string         // any other text, at most 1 KiB, unfiltered; empty for a page
	Page       bool           // the answer was HTML
	Location   string         // the target of a redirect, without user info and query
	// Err explains the answer of a server in front of the API server, such as
	// Headlamp. It is nil for any other answer.
	Err apiclient.Refusal
}

// Unwrap returns Err.
func (e *HandshakeError) Unwrap() error { return e.Err }

// Refusal returns the class of the answer. It never returns RefusalNone.
func (e *HandshakeError) Refusal() Refusal {
	if e.Err != nil && e.StatusCode != http.StatusUnauthorized {
		return RefusalInFront
	}
	return e.class()
}

// class is like Refusal, but ignores Err.
func (e *HandshakeError) class() Refusal {
	form, message := e.answer()
	for _, rule := range refusalRules {
		if rule.codes.match(e.StatusCode) && (rule.answer == answerAny || rule.answer == form) &&
			strings.Contains(message, rule.contains) && strings.HasSuffix(message, rule.ends) {
			return rule.class
		}
	}
	return RefusalOther
}

// Expired reports whether the server no longer has the requested
// resourceVersion, or the rest of a list (410).
func (e *HandshakeError) Expired() bool { return e.StatusCode == http.StatusGone }

// MayBeTooLong reports whether the request may have been refused because of its
// length: the refusal is RefusalTooLong, or the answer is a web page with the
// status 400 or 403, which some gateways send for a request that is too long.
func (e *HandshakeError) MayBeTooLong() bool {
	page := e.Page && e.Err == nil && (e.StatusCode == http.StatusBadRequest || e.StatusCode == http.StatusForbidden)
	return page || e.Refusal() == RefusalTooLong
}

// answer returns the form of the answer, and the server's message.
func (e *HandshakeError) answer() (form answer, message string) {
	switch {
	case e.Status != nil:
		return answerStatus, strings.TrimSpace(e.Status.Message)
	case e.Location != "":
		return answerRedirect, ""
	case e.Page:
		return answerPage, ""
	case e.Text != "":
		return answerText, e.Text
	}
	return answerEmpty, ""
}

// Error returns the text of Err, or else the reason that the server gave.
func (e *HandshakeError) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	switch form, message := e.answer(); {
	case message != "":
		return fmt.Sprintf("the server refused (%d): %s", e.StatusCode, message)
	case form == answerRedirect:
		return fmt.Sprintf("the server redirects (%d) to %s: the redirect was not followed", e.StatusCode, e.Location)
	case form == answerPage:
		return fmt.Sprintf("the server answered with a web page (%d), not as a Kubernetes API", e.StatusCode)
	case e.StatusCode == http.StatusOK:
		return "the server ignored the request to upgrade to WebSocket (200)"
	}
	return fmt.Sprintf("the server refused (%d %s) and gave no reason", e.StatusCode, http.StatusText(e.StatusCode))
}

// Permanent reports whether the same request would be refused again. If Err is
// set, Permanent returns Err.Permanent(). Otherwise, a request that took too
// long to arrive (408), overload (429), a server that restarts, a node that
// cannot be reached (5xx) and a kubelet that has just started are temporary.
func (e *HandshakeError) Permanent() bool {
	if e.Err != nil {
		return e.Err.Permanent()
	}
	return e.StatusCode < 500 && e.StatusCode != http.StatusTooManyRequests &&
		e.StatusCode != http.StatusRequestTimeout && e.class() != RefusalUnavailable
}

// maxRefusal limits how much of a refusal is read, and maxText how much of a
// text is kept, in bytes.
const (
	maxRefusal = 64 << 10
	maxText    = 1 << 10
)

// newHandshakeError returns the error for the answer resp. body is the
// beginning of the body of the answer, at most maxRefusal bytes.
func newHandshakeError(resp *http.Response, body []byte) *HandshakeError {
	e := &HandshakeError{StatusCode: resp.StatusCode, Err: apiclient.RefusalIn(resp)}
	if resp.StatusCode/100 == 3 {
		e.Location = location(resp)
		return e
	}
	var status metav1.Status
	switch {
	case json.Unmarshal(body, &status) == nil && status.Kind == "Status":
		e.Status = &status
	case isPage(resp, body):
		e.Page = true
	default:
		e.Text = strings.TrimSpace(truncate(body))
	}
	return e
}

// isPage reports whether an answer is HTML.
func isPage(resp *http.Response, body []byte) bool {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	begin := strings.ToLower(string(body[:min(len(body), 64)]))
	return mediaType == "text/html" || strings.HasPrefix(strings.TrimSpace(begin), "<!doctype html")
}

// location returns the target of the redirect resp, without user info and
// query; empty if resp has none.
func location(resp *http.Response) string {
	u, err := resp.Location()
	switch {
	case errors.Is(err, http.ErrNoLocation):
		return ""
	case err != nil:
		return "an address that cannot be read"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
