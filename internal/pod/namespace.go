package pod

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/apiclient"
)

// namespaceTimeout is the time limit of the requests for the namespace and for
// similar names. It is short, because the answers only improve an error.
const namespaceTimeout = 3 * time.Second

// NamespaceError means that the namespace of a request does not exist.
type NamespaceError struct {
	Namespace string
	Err       error // the error of the request for the object in the namespace
}

// Error names the namespace.
func (e *NamespaceError) Error() string {
	return fmt.Sprintf("namespace %q does not exist", e.Namespace)
}

// Hint tells the user how to list the namespaces.
func (e *NamespaceError) Hint() string { return "type `kubectl get namespaces` to list the namespaces" }

// Unwrap returns Err.
func (e *NamespaceError) Unwrap() error { return e.Err }

// explainMissing returns a *NamespaceError if err means that an object or pods
// were not found, and if the namespace does not exist. Otherwise, and if the
// user is not allowed to get the namespace, it adds the similar names of existing
// objects to err, and returns err. It requests the namespace, because the API
// server answers requests in a missing namespace as if the namespace existed: an
// object is not found, and a list is empty.
func (c *Client) explainMissing(ctx context.Context, namespace string, err error) error {
	var noPods *NoPodsError
	if !isNotFound(err) && (!errors.As(err, &noPods) || noPods.Target != (Target{})) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, namespaceTimeout)
	defer cancel()
	refusal := c.groups[""].Get().Resource("namespaces").Name(namespace).Do(ctx).Into(&corev1.Namespace{})
	if !apiclient.IsNotFound(refusal, "namespaces", namespace) {
		c.addSimilar(ctx, err)
		return err
	}
	return &NamespaceError{Namespace: namespace, Err: err}
}
