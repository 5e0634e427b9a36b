package pod

import (
	"errors"
	"fmt"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kshell/internal/apiclient"
)

// RequestError is a request that the API refused, or that did not get through.
// Err is the API's *apierrors.StatusError, or the transport's error.
type RequestError struct {
	Verb      string // "get", "list" or "create"
	Resource  string // plural: "pods", "deployments"
	Namespace string
	Target    Target // its Name is "" for a list, and for what has no name
	Server    string // its URL, without user info
	Err       error
}

// Unwrap gives Err.
func (e *RequestError) Unwrap() error { return e.Err }

// Error says which object of which namespace could not be read, and why.
func (e *RequestError) Error() string {
	if e.NotFound() {
		return fmt.Sprintf("%s %q does not exist in namespace %q", e.Target.Kind, e.Target.Name, e.Namespace)
	}
	object := e.Resource
	if e.Target.Name != "" {
		object = fmt.Sprintf("%s %q", e.Target.Kind, e.Target.Name)
	}
	return fmt.Sprintf("cannot %s %s in namespace %q: %v", e.Verb, object, e.Namespace, stripRequest(e.Err))
}

func isConnectionError(err error) bool {
	var u *url.Error
	return errors.As(err, &u)
}

// withoutRequest removes what libraries add to an error: the method and URL of
// the request, and advice.
func stripRequest(err error) error {
	if plain := apiclient.LimitError(err); plain != nil {
		return plain
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Hint says what to type where the user can do something about the error, else
// "".
func (e *RequestError) Hint() string {
	var cause interface{ Hint() string }
	var late *apiclient.TimeoutError
	var large *apiclient.TooLargeError
	switch {
	case errors.As(e.Err, &cause): // an error of the transport
		return cause.Hint()
	case e.NotFound() && e.Target.Kind == kindPod:
		return fmt.Sprintf("type `kubectl get pods -n %s` to see those there are, -n NAMESPACE to look elsewhere, "+
			"or TYPE/NAME for a workload, such as deploy/%s", e.Namespace, e.Target.Name)
	case e.NotFound():
		return fmt.Sprintf("type `kubectl get %s -n %s` to see those there are, or -n NAMESPACE to look elsewhere", e.Resource, e.Namespace)
	case apierrors.IsUnauthorized(e.Err):
		return "the server does not know these credentials: log in again, or choose others with --context, --user or --token"
	case apierrors.IsForbidden(e.Err):
		return fmt.Sprintf("ask for a role that allows %s on %s in namespace %q; `kubectl auth can-i --list -n %s` shows what you have",
			e.Verb, e.Resource, e.Namespace, e.Namespace)
	case errors.As(e.Err, &late):
		return "--request-timeout gives it more time; `kubectl config view --minify` shows the server's address"
	case errors.As(e.Err, &large) && e.Target.Name == "":
		return "name a pod, or select fewer pods with -l LABEL=VALUE"
	case errors.As(e.Err, &large):
		return ""
	case isConnectionError(e.Err):
		return "`kubectl config view --minify` shows the server's address and the authority that has to have signed for it"
	case apiclient.IsForeign(e.Err, e.Resource, e.Target.Name):
		return fmt.Sprintf("%s does not answer like a Kubernetes API server: check `server:` in the kubeconfig "+
			"(`kubectl config view --minify`), or --server", e.Server)
	}
	return ""
}

// Missing reports whether the API server says that the object does not exist.
// It is false for any other 404, such as that of a server that does not know
// the path.
func (e *RequestError) NotFound() bool {
	return apiclient.IsNotFound(e.Err, e.Resource, e.Target.Name)
}

// missing reports whether err is a *RequestError for an object that does not
// exist; see RequestError.Missing.
func isNotFound(err error) bool {
	var refused *RequestError
	return errors.As(err, &refused) && refused.NotFound()
}

// expired reports whether the server no longer has a resourceVersion, or the
// rest of a list (410).
func expired(err error) bool { return apiclient.IsExpired(err) }

// GetForbiddenError is a pod that was named and may not be looked at (403 on get
// pods). Running something in it may be allowed all the same: the caller can go
// on with Err.Namespace and Err.Target.Name, without knowing its containers.
type GetForbiddenError struct {
	Err *RequestError
}

// Error is that of the refused request.
func (e *GetForbiddenError) Error() string { return e.Err.Error() }

// Hint is that of the refused request.
func (e *GetForbiddenError) Hint() string { return e.Err.Hint() }

// Unwrap gives the refused request.
func (e *GetForbiddenError) Unwrap() error { return e.Err }

// NoPodsError is a workload, service or selector (Target is the zero one) without
// pods, or a workload or service without a selector to find them by.
type NoPodsError struct {
	Namespace string
	Target    Target
	Selector  string // "" when there is none
	// Final says that waiting will not help: somebody has to scale it up, or to
	// give it a selector.
	Permanent bool

	text, hint string
	err        error
}

// Error says why there are none, as far as the object tells.
func (e *NoPodsError) Error() string { return e.text }

// Hint says what to type.
func (e *NoPodsError) Hint() string { return e.hint }

// Unwrap gives the fault of the selector, or nil.
func (e *NoPodsError) Unwrap() error { return e.err }
