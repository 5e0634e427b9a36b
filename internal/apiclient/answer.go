package apiclient

import (
	"errors"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
		return AnswerHint(int(s.Code), !isForeignStatus(&s), s.Message)
	}
	return ""
}

// isForeignStatus reports whether client-go made the Status because the body of
// the answer contained none.
func isForeignStatus(s *metav1.Status) bool { return s.Details != nil && madeByClient(s.Details) }

// AnswerHint returns the hint for an answer other than the expected one, or "".
// code is its HTTP status code. fromAPI reports whether its body is a Status,
// which only the API server sends, and message is the message of the Status.
func AnswerHint(code int, fromAPI bool, message string) string {
	switch {
	case strings.Contains(message, `"system:anonymous"`):
		return anonymousHint
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

// anonymousHint explains the user that the API server assigns to a request
// without credentials.
const anonymousHint = "system:anonymous means that no credentials were sent, or none that the server knows: log in, " +
	"or select a user with --context, --user or --token"
