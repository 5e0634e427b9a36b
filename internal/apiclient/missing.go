package apiclient

import (
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Missing reports whether err is the API server's own statement that the object
// does not exist: a Status with the reason NotFound, this resource ("pods") and
// this name. Any other 404 may come from a proxy or a web server, or from an
// API server whose address has a wrong path.
func IsNotFound(err error, resource, name string) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	s := status.Status()
	return StatusNotFound(&s, resource, name)
}

// StatusMissing is like Missing, for a Status. It is false for nil.
func StatusNotFound(s *metav1.Status, resource, name string) bool {
	return s != nil && s.Reason == metav1.StatusReasonNotFound && about(s, resource, name)
}

// Conflict reports whether err is the API server's own statement that a
// precondition for the object does not hold (409).
func IsConflict(err error, resource, name string) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	s := status.Status()
	return s.Reason == metav1.StatusReasonConflict && about(&s, resource, name)
}

// about reports whether the API server wrote s, and wrote it about the object.
func about(s *metav1.Status, resource, name string) bool {
	d := s.Details
	if d == nil || d.Name != name || name == "" || madeByClient(d) {
		return false
	}
	return strings.EqualFold(d.Kind, resource) || strings.EqualFold(d.Kind+"s", resource)
}

// madeByClient reports whether client-go made the Status, because the response
// body held none.
func madeByClient(d *metav1.StatusDetails) bool {
	for _, cause := range d.Causes {
		if cause.Type == metav1.CauseTypeUnexpectedServerResponse {
			return true
		}
	}
	return false
}

// Foreign reports whether err is a response that no API server gives to a
// request for the object or, if name is empty, for a list of the resource: a
// 404 that is not about it, or a body that is neither an object nor a Status.
func IsForeign(err error, resource, name string) bool {
	var notList *NotListError
	switch {
	case errors.As(err, &notList), apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
		return true
	}
	return apierrors.IsNotFound(err) && !IsNotFound(err, resource, name)
}
