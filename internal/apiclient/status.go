package apiclient

import (
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// IsNotFound reports whether the API server answered that the object does not
// exist: with a Status that has the reason NotFound, this resource ("pods") and
// this name. Any other 404 may come from a proxy or a web server, or mean that
// the path in the server's address is wrong.
func IsNotFound(err error, resource, name string) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	s := status.Status()
	return StatusNotFound(&s, resource, name)
}

// StatusNotFound is like IsNotFound, for a Status. It reports false for nil.
func StatusNotFound(s *metav1.Status, resource, name string) bool {
	return s != nil && s.Reason == metav1.StatusReasonNotFound && isAbout(s, resource, name)
}

// IsConflict reports whether the API server answered that a precondition for
// the object does not hold (409).
func IsConflict(err error, resource, name string) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	s := status.Status()
	return s.Reason == metav1.StatusReasonConflict && isAbout(&s, resource, name)
}

// isAbout reports whether s comes from the API server and is about the object.
func isAbout(s *metav1.Status, resource, name string) bool {
	d := s.Details
	if d == nil || d.Name != name || name == "" || madeByClient(d) {
		return false
	}
	return strings.EqualFold(d.Kind, resource) || strings.EqualFold(d.Kind+"s", resource)
}

// madeByClient reports whether client-go made the Status because the response
// body contained none.
func madeByClient(d *metav1.StatusDetails) bool {
	for _, cause := range d.Causes {
		if cause.Type == metav1.CauseTypeUnexpectedServerResponse {
			return true
		}
	}
	return false
}

// IsForeign reports whether err is a response that does not come from an API
// server: a 404 that is not about the requested object, or a body that is
// neither an object nor a Status. If name is "", a list of the resource was
// requested, for which any 404 is foreign.
func IsForeign(err error, resource, name string) bool {
	var notList *NotListError
	var page *PageError
	switch {
	case errors.As(err, &notList), errors.As(err, &page),
		apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
		return true
	}
	return apierrors.IsNotFound(err) && !IsNotFound(err, resource, name)
}
