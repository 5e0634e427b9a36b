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

	// lateEventsTimeout is the time limit of the request for the events after
	// the wait has ended; see waitError. It is added to the user's time limit.
	lateEventsTimeout = time.Second
)

// Reason describes why a container does not run yet.
type Reason struct {
	Text string // one sentence without a final period
	Hint string // how to use another container of the pod without waiting, such as a running init container; or ""
}

// Wait is like Find, but waits until the container runs or ctx ends; only ctx
// limits the time. It calls onReason, which may be nil, with the reason why the
// container does not run yet, at once and each time the reason changes. A
// reason that differs from the last one only in numbers and identifiers is not
// a change. If an earlier reason occurs again, Wait passes it without its
// message. A reason comes from the pod's status and, if the pod is at least 5 s
// old, also from the last warning among the pod's events.
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
func (c *Client) Wait(ctx context.Context, req Request, onReason func(Reason)) (*Found, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	w := &waiter{
		watcher:  watcher{client: c, namespace: req.Namespace, maxAge: waitWatchAge},
		req:      req,
		onReason: onReason,
		events:   eventReader{requested: time.Now()},
		reported: map[string]bool{},
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
	onReason func(Reason) // may be nil
	events   eventReader

	view   *view       // the state that was last checked
	named  *corev1.Pod // the first state of the pod that req names; nil if req does not name a pod
	start  time.Time   // when the first reason was found
	reason error       // why the container does not run; nil before the first answer

	last     string          // the text of the last reason that was passed, without identifiers
	reported map[string]bool // all values of last so far
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
	if w.reason == nil && v.age() >= waitWatchAge { // the events may already show why the container does not run
		w.events.requested = time.Time{}
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
	w.view = v
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
	r := Reason{Text: reason.Error()}
	state := withoutIdentifiers(r.Text)
	if state == w.last {
		return
	}
	var notRunning *NotRunningError
	if errors.As(reason, &notRunning) {
		r.Hint = notRunning.offer
		if w.reported[state] {
			r.Text = notRunning.withoutMessage()
		}
	}
	w.last, w.reported[state] = state, true
	if w.onReason != nil {
		w.onReason(r)
	}
}

// waitError returns the error for a ctx that has ended. If ctx has reached its
// deadline and no event explains the last reason yet, waitError requests the
// events once more.
func (w *waiter) waitError(ctx context.Context) error {
	if v := w.view; v != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) && w.events.message == "" {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lateEventsTimeout)
		defer cancel()
		w.events.requested = time.Time{}
		w.events.refresh(late, w.client, v)
		w.reason = w.events.explain(w.reason)
	}
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
