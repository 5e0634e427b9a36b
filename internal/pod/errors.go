package pod

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RequestError is a request that the API refused, or that did not get through.
// Err is the API's *apierrors.StatusError, or the transport's error.
type RequestError struct {
	Verb      string // "get", "list" or "create"
	Resource  string // plural: "pods", "deployments"
	Namespace string
	Target    Target // its Name is "" for a list, and for what has no name
	Err       error
}

// Unwrap gives Err.
func (e *RequestError) Unwrap() error { return e.Err }

// Error says which object of which namespace could not be read, and why.
func (e *RequestError) Error() string {
	if e.notFound() {
		return fmt.Sprintf("%s %q does not exist in namespace %q", e.Target.Kind, e.Target.Name, e.Namespace)
	}
	object := e.Resource
	if e.Target.Name != "" {
		object = fmt.Sprintf("%s %q", e.Target.Kind, e.Target.Name)
	}
	return fmt.Sprintf("cannot %s %s in namespace %q: %v", e.Verb, object, e.Namespace, withoutRequest(e.Err))
}

func unreached(err error) bool {
	var u *url.Error
	return errors.As(err, &u)
}

// withoutRequest leaves out the method and the URL that net/http puts before its errors.
func withoutRequest(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Hint says what to type for the refusals that the user can do something
// about, else nothing.
func (e *RequestError) Hint() string {
	var cause interface{ Hint() string }
	switch {
	case errors.As(e.Err, &cause): // the transport's own
		return cause.Hint()
	case e.notFound() && e.Target.Kind == kindPod:
		return fmt.Sprintf("type `kubectl get pods -n %s` to see those there are, -n NAMESPACE to look elsewhere, "+
			"or TYPE/NAME for a workload, such as deploy/%s", e.Namespace, e.Target.Name)
	case e.notFound():
		return fmt.Sprintf("type `kubectl get %s -n %s` to see those there are, or -n NAMESPACE to look elsewhere", e.Resource, e.Namespace)
	case apierrors.IsUnauthorized(e.Err):
		return "the server does not know these credentials: log in again, or choose others with --context, --user or --token"
	case apierrors.IsForbidden(e.Err):
		return fmt.Sprintf("ask for a role that allows %s on %s in namespace %q; `kubectl auth can-i --list -n %s` shows what you have",
			e.Verb, e.Resource, e.Namespace, e.Namespace)
	case unreached(e.Err):
		return "`kubectl config view --minify` shows the server's address and the authority that has to have signed for it"
	case foreign(e.Err):
		return "this may not be a Kubernetes API server: check the address, --server or the context's cluster"
	}
	return ""
}

// notFound is true for an object that is not there, and false for a server that
// does not know the path.
func (e *RequestError) notFound() bool {
	return e.Target.Name != "" && apierrors.IsNotFound(e.Err) && !foreign(e.Err)
}

// expired is a version or a continued list that the server has forgotten (410).
func expired(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
}

// passing is a failure that may be over at the next try: a link or a server in
// trouble, and no refusal.
func passing(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	code := status.Status().Code
	return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests
}

// foreign is an answer that was not written by an API server.
func foreign(err error) bool {
	return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// UnseenPodError is a pod that was named and may not be looked at (403 on get
// pods). Running something in it may be allowed all the same: the caller can go
// on with Err.Namespace and Err.Target.Name, without knowing its containers.
type UnseenPodError struct {
	Err *RequestError
}

// Error is that of the refused request.
func (e *UnseenPodError) Error() string { return e.Err.Error() }

// Hint is that of the refused request.
func (e *UnseenPodError) Hint() string { return e.Err.Hint() }

// Unwrap gives the refused request.
func (e *UnseenPodError) Unwrap() error { return e.Err }

// NoPodsError is a workload, service or selector (Target is the zero one) without
// pods, or a workload or service without a selector to find them by.
type NoPodsError struct {
	Namespace string
	Target    Target
	Selector  string // "" when there is none
	// Final says that waiting will not help: somebody has to scale it up, or to
	// give it a selector.
	Final bool

	text, hint string
	err        error
}

// Error says why there are none, as far as the object tells.
func (e *NoPodsError) Error() string { return e.text }

// Hint says what to type.
func (e *NoPodsError) Hint() string { return e.hint }

// Unwrap gives the fault of the selector, or nil.
func (e *NoPodsError) Unwrap() error { return e.err }
