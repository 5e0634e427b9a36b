// Package pod finds a container by pod, workload, service or label selector,
// waits until the container runs, and describes what happens to it later.
//
// It does not know sockets, terminals, or how a session is retried. It prints
// nothing: information for the user is returned in Found.Notes and in errors,
// or passed to a function of the caller.
//
// Invariants:
//   - The resource types are a fixed table; API discovery is not used. For a
//     pod, Find sends one get request; for a workload or service, a get request
//     and a list request for its pods; for a selector, a list request. If
//     nothing is found, Find also requests the namespace; if the container does
//     not run, it may request the pod's events. A list is requested in pages of
//     apiclient.PageItems.
//   - The choice among several pods does not depend on their order in a list.
//   - No goroutine is started. A callback runs in the goroutine that called the
//     method, and only until the method returns.
//   - A watch is used for a limited time: 5 s in Wait, one minute in WatchPod
//     and WatchChanges. Then the pods are requested again, because proxies
//     delay events and connections can fail silently. Where watching is not
//     allowed, the pods are requested at intervals.
//   - Errors of the API are wrapped: errors.As and apierrors.IsNotFound find
//     them.
//   - Notes contain no control characters: names from the server are quoted.
//     Errors, and sentences about changes, contain text from the server as it
//     is; callers must clean it before printing.
package pod

import (
	"context"

	corev1 "k8s.io/api/core/v1"
)

// Request names the container to find.
type Request struct {
	Namespace string // required
	Target    Target
	Selector  string // label selector in kubectl's syntax; used only if Target is the zero value
	Container string // "" means the one that ChooseContainer chooses
}

// Found is a container that was running when the server answered.
type Found struct {
	Pod       *corev1.Pod
	Container string
	// Notes tell the user which of several pods or containers was chosen and
	// why: sentences without a final period, in the order to print them.
	Notes []string
}

// Find resolves req to one running container. It does not wait: see Wait. Of
// several pods in which the container runs it chooses the first in this order:
// not being deleted, running, ready, ready for the longest time, fewest
// restarts, newest, first by name. Errors are:
//
//   - *TargetError: the request has neither a target nor a selector, or the
//     selector is invalid
//   - *GetForbiddenError: the user is not allowed to get the named pod; the
//     caller can still try to use the pod by its name
//   - *NamespaceError: the namespace does not exist
//   - *RequestError: any other error of the API or of the connection
//   - *NoPodsError: the workload, service or selector has no pods
//   - *UnknownContainerError: the pod has no such container
//   - *NotRunningError: the container or its pod is not running
func (c *Client) Find(ctx context.Context, req Request) (*Found, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	v, err := c.readView(ctx, req)
	if err != nil {
		return nil, c.explainMissing(ctx, req.Namespace, err)
	}
	found, err := v.choose()
	return found, c.explainByEvents(ctx, v, c.explainMissing(ctx, req.Namespace, err))
}

// check returns an error if the request has neither a target nor a selector.
// Such a request would match all pods of the namespace.
func (r Request) check() error {
	if r.Target == (Target{}) && r.Selector == "" {
		return &TargetError{text: "no pod was named", hint: "type POD, TYPE/NAME or -l LABEL=VALUE"}
	}
	return nil
}
