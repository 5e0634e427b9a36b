package apiclient

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PageError means that the server answered a request with success and a web
// page.
type PageError struct{ StatusCode int } // HTTP

func (e *PageError) Error() string { return pageText(e.StatusCode) }

// Hint returns the hint of AnswerHint.
func (e *PageError) Hint() string { return AnswerHint(e.StatusCode, false, "") }

func pageText(code int) string {
	return fmt.Sprintf("the server answered with a web page (%d), not as a Kubernetes API", code)
}

// Plain returns err without the text that client-go and net/http add, such as
// the method and the URL of the request. For an answer that does not come from
// the API server, the text is the body of the answer, unless that is a web
// page.
func Plain(err error) error {
	var u *url.Error
	var status apierrors.APIStatus
	switch plain := LimitError(err); {
	case plain != nil:
		return plain
	case errors.As(err, &u):
		return u.Err
	case errors.As(err, &status):
		if s := status.Status(); isForeignStatus(&s) {
			return &foreignError{text: foreignText(&s), err: err}
		}
	}
	return err
}

// ServerStatus returns the Status in err that the API server has sent. ok is
// false if there is none: there was no answer, or the answer does not come from
// the API server.
func ServerStatus(err error) (s metav1.Status, ok bool) {
	var status apierrors.APIStatus
	if LimitError(err) != nil || !errors.As(err, &status) {
		return metav1.Status{}, false
	}
	s = status.Status()
	return s, !isForeignStatus(&s)
}

// foreignError is an answer that does not come from the API server.
type foreignError struct {
	text string
	err  error
}

func (e *foreignError) Error() string { return e.text }

// Unwrap returns the error of client-go.
func (e *foreignError) Unwrap() error { return e.err }

// foreignBody returns the body of an answer that does not come from the API
// server. s is the Status that client-go made for it.
func foreignBody(s *metav1.Status) string {
	for _, cause := range s.Details.Causes {
		if cause.Type == metav1.CauseTypeUnexpectedServerResponse {
			return strings.TrimSpace(cause.Message)
		}
	}
	return ""
}

// foreignText describes an answer that does not come from the API server. s is
// the Status that client-go made for it.
func foreignText(s *metav1.Status) string {
	body := foreignBody(s)
	switch begin := strings.ToLower(body[:min(len(body), len("<!doctype html"))]); {
	case strings.HasPrefix(begin, "<!doctype html"), strings.HasPrefix(begin, "<html"):
		return pageText(int(s.Code))
	case body == "" || body == "unknown": // client-go replaces an empty body by "unknown"
		return fmt.Sprintf("the server answered %d %s", s.Code, http.StatusText(int(s.Code)))
	}
	return fmt.Sprintf("the server answered (%d): %s", s.Code, body)
}

// IsDenied reports whether err is a refusal by an authorizer or an admission
// policy of the API server: 403 with a Status, to a user with credentials.
func IsDenied(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsForbidden(err) || !errors.As(err, &status) {
		return false
	}
	s := status.Status()
	return !isForeignStatus(&s) && !IsAnonymous(s.Message)
}

// IsAnonymous reports whether the message of a Status names the user that the
// API server assigns to a request without credentials.
func IsAnonymous(message string) bool { return strings.Contains(message, `"system:anonymous"`) }

// Hint returns the hint for an error of a request to the API server, or "". It
// explains failed connections, credential plugins, credentials that the server
// does not accept, and answers that do not come from the API server. It does
// not explain answers about the requested object, such as a missing right.
func Hint(err error) string {
	var cause interface{ Hint() string }
	var late *TimeoutError
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &cause): // an error of the connection
		return cause.Hint()
	case errors.As(err, &late):
		return "--request-timeout allows more time"
	case errors.As(err, &status):
		s := status.Status()
		if isForeignStatus(&s) {
			return AnswerHint(int(s.Code), false, foreignBody(&s))
		}
		return AnswerHint(int(s.Code), true, s.Message)
	}
	return ""
}

// isForeignStatus reports whether client-go made the Status, because the
// body of the answer did not contain one.
func isForeignStatus(s *metav1.Status) bool { return s.Details != nil && madeByClient(s.Details) }

// AnswerHint returns the hint for an answer other than the expected one, or "".
// code is its HTTP status code. fromAPI reports whether its body is a Status,
// which only the API server sends. message is the message of the Status, or the
// body.
func AnswerHint(code int, fromAPI bool, message string) string {
	switch {
	case IsAnonymous(message):
		return anonymousHint
	case strings.Contains(message, "HTTP request to an HTTPS server"):
		return "the server expects HTTPS: its address must begin with https://"
	case code == http.StatusUnauthorized:
		return "the server rejected the credentials: log in again, or select others with --context, --user or --token"
	case code == http.StatusProxyAuthRequired:
		return "a proxy needs a user and a password: write USER:PASSWORD@ before the host in its URL " +
			"(--proxy-url, HTTPS_PROXY)"
	case code == http.StatusTooManyRequests:
		return "the server has too many requests at the moment: try again in a few seconds"
	case code == http.StatusServiceUnavailable && fromAPI:
		return "the API server is starting, stopping or overloaded: try again in a few seconds"
	case code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		return "a gateway in front of the API server does not reach it: is the cluster up? Try again in a few seconds"
	case fromAPI:
		return ""
	case code == http.StatusForbidden:
		return "this is not a refusal by the roles of the cluster (RBAC): a gateway, proxy or firewall in front of the " +
			"API server denies the request; check --server and the proxy settings"
	case code/100 == 2, code/100 == 3:
		return "a login page or a gateway may be in front of the API server: check --server and the proxy settings"
	}
	return ""
}

const anonymousHint = "system:anonymous means that no credentials were sent, or none that the server knows: log in, " +
	"or select a user with --context, --user or --token"
