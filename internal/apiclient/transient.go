package apiclient

import (
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// IsTransient reports whether the same request may succeed when it is repeated.
// That is so if the server answered with a Status that has the code 5xx or 429.
// For a Refusal, see Permanent. Any other error without a Status counts as a
// failed connection, and is transient unless it is a *TooLargeError.
func IsTransient(err error) bool {
	var status apierrors.APIStatus
	var large *TooLargeError
	if refusal := AsRefusal(err); refusal != nil {
		return !refusal.Permanent()
	}
	if !errors.As(err, &status) {
		return !errors.As(err, &large)
	}
	code := status.Status().Code
	return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests
}
