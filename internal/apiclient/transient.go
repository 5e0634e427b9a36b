package apiclient

import (
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// IsTransient reports whether the same request may succeed when it is repeated:
// the connection failed, or the server answered with 5xx or 429.
func IsTransient(err error) bool {
	var status apierrors.APIStatus
	var large *TooLargeError
	if !errors.As(err, &status) {
		return !errors.As(err, &large)
	}
	code := status.Status().Code
	return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests
}
