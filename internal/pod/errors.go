package pod

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kshell/internal/apiclient"
	"kshell/internal/script"
	"kshell/internal/similar"
)

// RequestError means that a request to the API server failed.
type RequestError struct {
	Verb      string // "get", "list", "create" or "delete"
	Resource  string // plural: "pods", "deployments"
	Namespace string // "" means all namespaces
	Target    Target // Name is "" for a list, and for objects without a name
	Server    string // the URL of the server, without user info
	Err       error  // an *apierrors.StatusError, or an error of the connection
	// Similar are the names of existing objects that the user may have meant, if
	// the object does not exist.
	Similar []string
}

// Unwrap returns Err.
func (e *RequestError) Unwrap() error { return e.Err }

// Error returns the verb, the object, its namespace, and the cause.
func (e *RequestError) Error() string {
	if e.NotFound() {
		return fmt.Sprintf("%s %q does not exist in namespace %q", e.Target.Kind, e.Target.Name, e.Namespace)
	}
	object := e.Resource
	if e.Target.Name != "" {
		object = fmt.Sprintf("%s %q", e.Target.Kind, e.Target.Name)
	}
	return fmt.Sprintf("cannot %s %s %s: %v", e.Verb, object, inNamespace(e.Namespace), apiclient.Plain(e.Err))
}

// inNamespace returns "in namespace NAME", or "in all namespaces" for "".
func inNamespace(namespace string) string {
	if namespace == "" {
		return "in all namespaces"
	}
	return fmt.Sprintf("in namespace %q", namespace)
}

// Hint tells the user how to correct the error, or returns "".
func (e *RequestError) Hint() string {
	if len(e.Similar) == 0 {
		return e.hint()
	}
	return similar.Question(e.Similar) + "\n" + e.hint()
}

func (e *RequestError) hint() string {
	var large *apiclient.TooLargeError
	switch hint := apiclient.Hint(e.Err); {
	case hint != "":
		return hint
	case e.NotFound() && e.Target.Kind == kindPod:
		return fmt.Sprintf("type `kubectl get pods -n %s` to list the pods, -n NAMESPACE for another namespace, "+
			"or TYPE/NAME for a workload, such as deploy/%s", script.Quote(e.Namespace), e.Target.Name)
	case e.NotFound():
		return fmt.Sprintf("type `kubectl get %[1]s -n %[2]s` to list the %[1]s, or -n NAMESPACE for another namespace",
			e.Resource, script.Quote(e.Namespace))
	case apierrors.IsForbidden(e.Err):
		kind, _ := findKind(e.Target.Kind)
		denied := []Rule{{Verb: e.Verb, Group: kind.group, Resource: e.Resource}}
		return (&ForbiddenError{Namespace: e.Namespace, Denied: denied, Err: e.Err}).Hint()
	case errors.As(e.Err, &large) && e.Target.Name == "":
		return "name a pod, or select fewer pods with -l LABEL=VALUE"
	case errors.As(e.Err, &large):
		return ""
	case apiclient.IsForeign(e.Err, e.Resource, e.Target.Name):
		return fmt.Sprintf("%s does not answer like a Kubernetes API server: check `server:` in the kubeconfig "+
			"(`kubectl config view --minify`), --server or --headlamp", e.Server)
	}
	return ""
}

// NotFound reports whether the API server answered that the object does not
// exist. It is false for any other response with the status 404, such as the
// response of a proxy.
func (e *RequestError) NotFound() bool {
	return apiclient.IsNotFound(e.Err, e.Resource, e.Target.Name)
}

// isNotFound reports whether err is a *RequestError whose NotFound is true.
func isNotFound(err error) bool {
	var request *RequestError
	return errors.As(err, &request) && request.NotFound()
}

// GetForbiddenError means that the user is not allowed to get the named pod
// (403). Running commands in the pod may still be allowed, so the caller can
// continue with Err.Namespace and Err.Target.Name, without knowing the pod's
// containers.
type GetForbiddenError struct {
	Err *RequestError
}

// Error returns the text of the request's error.
func (e *GetForbiddenError) Error() string { return e.Err.Error() }

// Hint returns the hint of the request's error.
func (e *GetForbiddenError) Hint() string { return e.Err.Hint() }

// Unwrap returns the request's error.
func (e *GetForbiddenError) Unwrap() error { return e.Err }

// NoPodsError means that a workload, service or selector has no pods, or that a
// workload or service has no valid selector.
type NoPodsError struct {
	Namespace string
	Target    Target // the zero value for a selector given by the user
	Selector  string // "" if there is no valid selector
	// Permanent reports that waiting does not help: the object is scaled to 0,
	// finished or suspended, has no valid selector, or is a service of the type
	// ExternalName.
	Permanent bool

	text, hint string
	err        error
}

// Error names the workload, service or selector that has no pods and, if the
// status of the workload shows a reason, the reason.
func (e *NoPodsError) Error() string { return e.text }

// Hint tells the user what to type.
func (e *NoPodsError) Hint() string { return e.hint }

// Unwrap returns the parse error of an invalid selector, or nil.
func (e *NoPodsError) Unwrap() error { return e.err }
