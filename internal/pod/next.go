package pod

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/script"
)

// Next finds the container in which a session can continue after the session
// has lost its connection. found is the container of the session so far, and
// was found for req. Next returns found itself if its container still runs.
// Otherwise Next returns the same container after a restart or, if req names a
// workload or service, a container in another pod of the workload or service.
// killed means that the command of the session was killed; if so, a container
// whose pod is being deleted counts as ended. sentence describes what happened to
// found, as in DescribeChange; sentence can be set even if err is not nil. Errors
// are:
//
//   - *GoneError: the container has ended for good, and req names neither a
//     workload nor a service
//   - *NotRunningError, *NoPodsError: no replacement is running yet
//   - *RequestError: any error of the API or of the connection
func (c *Client) Next(
	ctx context.Context, found *Found, req Request, killed bool,
) (next *Found, sentence string, err error) {
	now, err := c.currentPod(ctx, found)
	if err != nil {
		return nil, "", err
	}
	sentence, ended := describeChange(found.Pod, now, found.Container)
	deleting := killed && now != nil && now.DeletionTimestamp != nil
	if !ended && !deleting {
		return found, "", nil
	}
	if !deleting && now != nil && now.UID == found.Pod.UID {
		next, err = chooseRunning(now, found.Container)
		var notRunning *NotRunningError
		if err == nil || errors.As(err, &notRunning) && !notRunning.Permanent {
			return next, sentence, err
		}
	}
	if !req.Target.HasReplacements() {
		hint := fmt.Sprintf("type `kubectl get pods -n %s` to list the pods", script.Quote(req.Namespace))
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

// cannotReplace reports whether pod cannot replace the pod in which found ran:
// it is the same pod, or it is being deleted.
func cannotReplace(found *Found, pod *corev1.Pod) bool {
	return pod.UID == found.Pod.UID || pod.DeletionTimestamp != nil
}

// HasReplacements reports whether the target is a workload or a service, so
// that another of its pods can replace one that is gone.
func (t Target) HasReplacements() bool { return t != (Target{}) && t.Kind != kindPod }

// GoneError means that the container has ended for good, and that the request
// names no workload or service whose other pods could replace it.
type GoneError struct {
	Sentence string // what happened, as in DescribeChange
	hint     string
}

// Error returns Sentence.
func (e *GoneError) Error() string { return e.Sentence }

// Hint tells the user how to list the pods.
func (e *GoneError) Hint() string { return e.hint }
