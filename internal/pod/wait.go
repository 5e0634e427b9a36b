package pod

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kshell/internal/apiclient"
	"kshell/internal/script"

	corev1 "k8s.io/api/core/v1"
)

const (
	waitPollInterval = time.Second     // the shortest time between two requests
	waitWatchAge     = 5 * time.Second // a watch ends after this time, and the pods are requested again
)

// Wait is like Find, but waits until the container runs or ctx ends; only ctx
// limits the time. It calls onReason, which may be nil, with the reason why the
// container does not run yet, at once and each time the reason changes. A
// reason is one sentence without a final period. It comes from the pod's status
// and, after 5 s, also from the last warning among the pod's events.
//
// Wait returns an error at once if waiting cannot help: a named pod that has
// ended or is being deleted, a container that will not be started again, a
// workload that is scaled to 0, a container that does not exist. While all pods
// of a workload have ended or are being deleted, Wait waits for new pods,
// unless the workload is a finished job. After the first successful request,
// Wait retries after errors of the connection and of the server. Wait watches
// the pods; where watching is not allowed, it requests them every second.
//
// Errors are those of Find, and a *WaitError if ctx ended during the wait.
func (c *Client) Wait(ctx context.Context, req Request, onReason func(reason string)) (*Found, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	w := &waiter{
		watcher:  watcher{client: c, namespace: req.Namespace, maxAge: waitWatchAge},
		req:      req,
		onReason: onReason,
		events:   eventReader{requested: time.Now()},
	}
	for {
		requested := time.Now()
		found, err := w.try(ctx)
		switch {
		case err == nil:
			return found, nil
		case w.reason != nil && ctx.Err() != nil:
			return nil, w.waitError(ctx)
		case !errors.Is(err, errRetry):
			return nil, err
		case !waitSince(ctx, requested, waitPollInterval):
			return nil, w.waitError(ctx)
		}
	}
}

// errRetry means that the pods must be requested again.
var errRetry = errors.New("request the pods again")

// waiter is the state of one call of Wait. Only the goroutine of this call uses
// it.
type waiter struct {
	watcher
	req      Request
	onReason func(string) // may be nil
	events   eventReader

	named    *corev1.Pod // the first state of the pod that req names; nil if req does not name a pod
	start    time.Time   // when the first reason was found
	reason   error       // why the container does not run; nil before the first answer
	reported string      // the text last passed to onReason
}

// try requests the pods and watches them. It returns the container when it
// runs, errRetry if the pods must be requested again, or the error that ends
// the wait.
func (w *waiter) try(ctx context.Context) (*Found, error) {
	v, err := w.client.readView(ctx, w.req)
	switch {
	case err == nil:
	case w.reason == nil || ctx.Err() != nil:
		return nil, w.client.explainMissing(ctx, w.req.Namespace, err)
	case w.named != nil && isNotFound(err):
		return nil, deletedWhileWaiting(w.named, w.req.Container)
	case !apiclient.IsTransient(err):
		return nil, err
	default:
		w.report(err)
		return nil, errRetry
	}
	if v.set == nil && w.named == nil {
		first := v.pods[0]
		w.named = &first
	}
	w.events.refresh(ctx, w.client, v)
	found, err := w.check(ctx, v)
	if errors.Is(err, errRetry) && v.hasActivePod() {
		w.run(ctx, v.query(), v.match(), func(pod *corev1.Pod, deleted bool) bool {
			if v.set == nil && deleted {
				found, err = nil, deletedWhileWaiting(pod, w.req.Container)
				return true
			}
			v.apply(pod, deleted)
			found, err = w.check(ctx, v)
			return !errors.Is(err, errRetry) || !v.hasActivePod()
		})
	}
	return found, err
}

// check returns the container if it runs, or the error that ends the wait.
// Otherwise it reports why the container does not run yet, and returns
// errRetry.
func (w *waiter) check(ctx context.Context, v *view) (*Found, error) {
	if w.named != nil && w.named.UID != v.pods[0].UID {
		return nil, deletedWhileWaiting(w.named, w.req.Container)
	}
	found, err := v.choose()
	if w.reason == nil {
		err = w.client.explainMissing(ctx, w.req.Namespace, err)
	}
	if err == nil || v.isPermanent(err) {
		return found, err
	}
	w.report(w.events.explain(err))
	return nil, errRetry
}

// report passes the reason to onReason, unless it repeats the last one.
func (w *waiter) report(reason error) {
	if isRepeated(w.reason, reason) {
		return
	}
	if w.reason == nil {
		w.start = time.Now()
	}
	w.reason = reason
	text := reason.Error()
	if text == w.reported {
		return
	}
	w.reported = text
	if w.onReason != nil {
		w.onReason(text)
	}
}

// waitError returns the error for a ctx that has ended.
func (w *waiter) waitError(ctx context.Context) error {
	return &WaitError{Waited: time.Since(w.start).Round(time.Second), Last: w.reason, Err: context.Cause(ctx)}
}

// isRepeated compares the current reason, now, with the reason before it, last.
// It reports whether the current reason tells the user nothing new. While an
// image cannot be pulled, the reason in the pod's status alternates: the
// message of ErrImagePull contains the cause, and the message of
// ImagePullBackOff does not add to it.
func isRepeated(last, now error) bool {
	var before, after *NotRunningError
	if !errors.As(last, &before) || !errors.As(now, &after) || !before.isImagePull() || !after.isImagePull() {
		return false
	}
	same := before.Pod == after.Pod && before.Container == after.Container
	return same && (after.Reason == "ImagePullBackOff" || strings.Contains(before.Message, after.Message))
}

func (e *NotRunningError) isImagePull() bool {
	return e.Reason == "ErrImagePull" || e.Reason == "ImagePullBackOff"
}

// isPermanent reports whether waiting cannot change err.
func (v *view) isPermanent(err error) bool {
	var missing *NamespaceError
	var noPods *NoPodsError
	var notRunning *NotRunningError
	switch {
	case errors.As(err, &missing):
		return true
	case errors.As(err, &noPods):
		return noPods.Permanent
	case !errors.As(err, &notRunning):
		return true
	case v.set == nil:
		return notRunning.Permanent
	default:
		return notRunning.Permanent && (notRunning.podContinues || v.set.finished)
	}
}

// hasActivePod reports whether at least one pod has not ended yet. If so, a
// watch on the pods can show that the container runs. If not, the workload
// itself must be requested again.
func (v *view) hasActivePod() bool {
	for i := range v.pods {
		if phase := v.pods[i].Status.Phase; phase != corev1.PodSucceeded && phase != corev1.PodFailed {
			return true
		}
	}
	return false
}

// deletedWhileWaiting returns the error for a named pod that is gone.
func deletedWhileWaiting(pod *corev1.Pod, container string) error {
	e := newNotRunning(pod, container)
	e.Reason, e.Permanent = "Deleted", true
	e.text = fmt.Sprintf("pod %q was deleted while kshell waited for it", pod.Name)
	e.hint = fmt.Sprintf("type `kubectl get pods -n %s` to list the pods", script.Quote(pod.Namespace))
	return e
}

// WaitError means that the context of Wait ended before the container ran.
type WaitError struct {
	// Waited is the time since the first reason, rounded to seconds.
	Waited time.Duration
	// Last is the last reason: a *NotRunningError, a *NoPodsError, or a
	// *RequestError if the server did not answer.
	Last error
	// Err is the cause of the context's end, such as context.DeadlineExceeded.
	Err error
}

// Error returns how long the wait lasted, and the last reason.
func (e *WaitError) Error() string {
	return fmt.Sprintf("gave up after %v: %v", e.Waited, e.Last)
}

// Hint returns the hint of the last reason.
func (e *WaitError) Hint() string {
	var hinted interface{ Hint() string }
	if errors.As(e.Last, &hinted) {
		return hinted.Hint()
	}
	return ""
}

// Unwrap returns Err and Last.
func (e *WaitError) Unwrap() []error { return []error{e.Err, e.Last} }
