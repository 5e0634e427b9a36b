package pod

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Next finds the container in which a session can continue after it has lost
// its connection to found, a result of req. It returns found itself while its
// container runs. Otherwise it returns the same container after a restart or,
// if req is a workload or service, the container in another of its pods.
// sentence describes what happened to found, as in DescribeChange; it can be
// set together with an error. Errors are:
//
//   - *GoneError: the container has ended for good, and req names its pod
//   - *NotRunningError, *NoPodsError: no replacement is running yet
//   - *RequestError: any error of the API or of the connection
func (c *Client) Next(ctx context.Context, found *Found, req Request) (next *Found, sentence string, err error) {
	now, err := c.currentPod(ctx, found)
	if err != nil {
		return nil, "", err
	}
	sentence, ended := describeChange(found.Pod, now, found.Container)
	if !ended {
		return found, "", nil
	}
	if now != nil && now.UID == found.Pod.UID {
		next, err = chooseRunning(now, found.Container)
		var notRunning *NotRunningError
		if err == nil || errors.As(err, &notRunning) && !notRunning.Permanent {
			return next, sentence, err
		}
	}
	if !req.Target.HasReplacements() {
		hint := fmt.Sprintf("type `kubectl get pods -n %s` to list the pods", req.Namespace)
		return nil, sentence, &GoneError{Sentence: sentence, hint: hint}
	}
	next, err = c.Find(ctx, req)
	if err == nil && cannotReplace(found, next.Pod) {
		e := newNotRunning(next.Pod, next.Container)
		e.Reason, e.text = "Replaced", fmt.Sprintf("%s has no other running pod yet", req.Target)
		return nil, sentence, e
	}
	return next, sentence, err
}

// cannotReplace reports whether pod cannot replace the one that was found.
func cannotReplace(found *Found, pod *corev1.Pod) bool {
	return pod.UID == found.Pod.UID || pod.DeletionTimestamp != nil
}

// HasReplacements reports whether another pod can replace a pod of the target:
// the target is a workload or a service.
func (t Target) HasReplacements() bool { return t != (Target{}) && t.Kind != kindPod }

// GoneError means that the container of a named pod has ended for good.
type GoneError struct {
	Sentence string // what happened, as in DescribeChange
	hint     string
}

// Error returns Sentence.
func (e *GoneError) Error() string { return e.Sentence }

// Hint tells the user how to list the pods.
func (e *GoneError) Hint() string { return e.hint }
