// Package pod finds the one running container that was asked for, and says
// whether a container that was lost is still the same.
//
// It does not know sockets, terminals or how a session is retried. It prints
// nothing: what the user should hear comes back as Found.Notes or in an error.
//
// Invariants:
//   - The kinds are a fixed table; there is no discovery. A pod costs one request
//     (get), anything else two (get, then list of pods).
//   - Rank, Best, ChooseContainer, CheckRunning and Same are pure.
//   - Rank is a total order: the same pods give the same choice.
//   - An error of the API stays findable by errors.As and apierrors.IsNotFound.
//   - Notes hold no control characters: what the server named is quoted. Errors
//     hold the server's sentences raw; whoever prints them has to clean them.
package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Request is what was asked for.
type Request struct {
	Namespace string // needed
	Target    Target
	Container string // -c; "" leaves the choice to ChooseContainer
}

// Found is a container that was running when the server answered.
type Found struct {
	Pod       *corev1.Pod
	Container string
	// Notes are sentences for stderr: which of several pods or containers was
	// chosen and why. Without a final period, in the order to be said.
	Notes []string
}

// Find resolves req to one running container. Its errors are
//
//   - *UnseenPodError: the pod was named and may not be looked at; the caller
//     can go on with the bare name
//   - *RequestError: any other refusal or failure of the API
//   - *NoPodsError: the workload or service has no pods
//   - *UnknownContainerError: the pod has no such container
//   - *NotRunningError: the container or its pod does not run
func (c *Client) Find(ctx context.Context, req Request) (*Found, error) {
	pod, notes, err := c.pick(ctx, req)
	if err != nil {
		return nil, err
	}
	if pod.DeletionTimestamp != nil {
		notes = append(notes, fmt.Sprintf("pod %q is being deleted", pod.Name))
	}
	container, more, err := ChooseContainer(pod, req.Container)
	if err != nil {
		return nil, err
	}
	if err := CheckRunning(pod, container); err != nil {
		return nil, err
	}
	return &Found{Pod: pod, Container: container, Notes: append(notes, more...)}, nil
}

func (c *Client) pick(ctx context.Context, req Request) (*corev1.Pod, []string, error) {
	if req.Target.Kind == kindPod {
		pod, err := c.Get(ctx, req.Namespace, req.Target.Name)
		var refused *RequestError
		if apierrors.IsForbidden(err) && errors.As(err, &refused) {
			return nil, nil, &UnseenPodError{Err: refused}
		}
		return pod, nil, err
	}
	group, err := c.group(ctx, req.Namespace, req.Target)
	if err != nil {
		return nil, nil, err
	}
	pods, err := c.list(ctx, req.Namespace, group.selector.String())
	if err != nil {
		return nil, nil, err
	}
	pods = slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return group.controls && controlledByAnother(&pod, group.uid) })
	if len(pods) == 0 {
		return nil, nil, &NoPodsError{
			Namespace: req.Namespace, Target: req.Target, Selector: group.selector.String(),
			text: group.noPods, hint: group.noPodsHint,
		}
	}
	pod, why := Best(pods)
	if len(pods) == 1 {
		return pod, nil, nil
	}
	return pod, []string{fmt.Sprintf("%s has %d pods: chose %q (%s)", req.Target, len(pods), pod.Name, why)}, nil
}
