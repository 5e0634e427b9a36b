package pod

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Next finds where a session can go on that has lost its connection to found, which
// was the answer to req. It is found itself as long as its container runs; the same
// container when it was started anew; and, where req is a workload or a service,
// another pod of it. The sentence is Fate's: what has become of found, "" for
// nothing, also beside an error. Its errors are
//
//   - *GoneError: the pod has ended, and req was this pod alone
//   - *NotRunningError, *NoPodsError: nothing runs yet that could take its place
//   - *RequestError: any refusal or failure of the API
func (c *Client) Next(ctx context.Context, found *Found, req Request) (next *Found, sentence string, err error) {
	now, err := c.currentPod(ctx, found)
	if err != nil {
		return nil, "", err
	}
	sentence, over := describeChange(found.Pod, now, found.Container)
	if !over {
		return found, "", nil
	}
	if now != nil && now.UID == found.Pod.UID {
		next, err = chooseRunning(now, found.Container)
		var stopped *NotRunningError
		if err == nil || errors.As(err, &stopped) && !stopped.Permanent {
			return next, sentence, err
		}
	}
	if !req.Target.HasReplacements() {
		return nil, sentence, &GoneError{Sentence: sentence, hint: fmt.Sprintf("type `kubectl get pods -n %s` to see those there are", req.Namespace)}
	}
	next, err = c.Find(ctx, req)
	if err == nil && cannotReplace(found, next.Pod) {
		e := newNotRunning(next.Pod, next.Container)
		e.Reason, e.text = "Replaced", fmt.Sprintf("%s has no other pod that runs yet", req.Target)
		return nil, sentence, e
	}
	return next, sentence, err
}

// leavingOrGone says whether a pod cannot take the place of the one that was found.
func cannotReplace(found *Found, pod *corev1.Pod) bool {
	return pod.UID == found.Pod.UID || pod.DeletionTimestamp != nil
}

// HasOthers says whether a pod of the target may be replaced by another one: it is
// a workload or a service.
func (t Target) HasReplacements() bool { return t != (Target{}) && t.Kind != kindPod }

// GoneError is a pod that was asked for by its name, and whose container has ended
// for good.
type GoneError struct {
	Sentence string // Fate's
	hint     string
}

// Error is the sentence.
func (e *GoneError) Error() string { return e.Sentence }

// Hint says what to type to see what there is.
func (e *GoneError) Hint() string { return e.hint }
