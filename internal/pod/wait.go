package pod

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kshell/internal/apiclient"

	corev1 "k8s.io/api/core/v1"
)

const (
	waitPollInterval = time.Second     // the least time between two requests
	waitWatchAge     = 5 * time.Second // how long one watch is used
)

// Await is like Find, but waits until the container runs or ctx ends; it has no
// time limit of its own. It calls said with the reason why the container does
// not run yet, at once and each time the reason changes: one sentence without a
// final period, from the pod's status and, after 5 s without a container, from
// the last warning among the pod's events. said may be nil; it is called in the
// caller's goroutine.
//
// Await does not wait for what cannot happen: a named pod that has ended or is
// being deleted, a container that will not be started again, a workload that is
// scaled to 0, a container that does not exist. While all pods of a workload
// have ended or are being deleted it waits for others, unless its job is
// finished. Failures of the connection and of the server are retried after the
// first answer. It watches the pod, or the pods that the selector matches;
// where watching is not allowed, it requests them every second.
//
// Errors are those of Find, and a *WaitError if ctx ended after the wait had
// begun.
func (c *Client) Wait(ctx context.Context, req Request, said func(why string)) (*Found, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	a := &waiter{
		watcher: watcher{client: c, namespace: req.Namespace, maxAge: waitWatchAge},
		req:     req, onReason: said, events: eventReader{requested: time.Now()},
	}
	for {
		looked := time.Now()
		found, err := a.try(ctx)
		switch {
		case err == nil:
			return found, nil
		case a.reason != nil && ctx.Err() != nil:
			return nil, a.waitError(ctx)
		case !errors.Is(err, errRetry):
			return nil, err
		case !waitSince(ctx, looked, waitPollInterval):
			return nil, a.waitError(ctx)
		}
	}
}

// errAgain means that the pods must be requested again.
var errRetry = errors.New("look again")

type waiter struct {
	watcher
	req      Request
	onReason func(string)

	start    time.Time   // when the wait began
	reason   error       // why the container does not run
	reported string      // the last message about that
	named    *corev1.Pod // the named pod, as it was first read
	events   eventReader
}

func (a *waiter) try(ctx context.Context) (*Found, error) {
	v, err := a.client.readView(ctx, a.req)
	switch {
	case err == nil:
	case a.reason == nil || ctx.Err() != nil:
		return nil, err
	case a.named != nil && isNotFound(err):
		return nil, deletedWhileWaiting(a.named, a.req.Container)
	case !apiclient.IsTransient(err):
		return nil, err
	default:
		a.report(err)
		return nil, errRetry
	}
	if v.set == nil && a.named == nil {
		first := v.pods[0]
		a.named = &first
	}
	a.events.refresh(ctx, a.client, v)
	found, err := a.check(v)
	if errors.Is(err, errRetry) && v.hasActivePod() {
		a.run(ctx, v.query(), v.match(), func(pod *corev1.Pod, deleted bool) bool {
			if v.set == nil && deleted {
				found, err = nil, deletedWhileWaiting(pod, a.req.Container)
				return true
			}
			v.apply(pod, deleted)
			found, err = a.check(v)
			return !errors.Is(err, errRetry) || !v.hasActivePod()
		})
	}
	return found, err
}

// judge returns the container if it runs, or the error that ends the wait.
// Otherwise it reports why the container does not run yet, and returns
// errAgain.
func (a *waiter) check(v *view) (*Found, error) {
	if a.named != nil && a.named.UID != v.pods[0].UID {
		return nil, deletedWhileWaiting(a.named, a.req.Container)
	}
	found, err := v.choose()
	if err == nil || v.isPermanent(err) {
		return found, err
	}
	a.report(a.events.explain(err))
	return nil, errRetry
}

// say passes on why, unless it was said last.
func (a *waiter) report(why error) {
	if isRepeated(a.reason, why) {
		return
	}
	if a.reason == nil {
		a.start = time.Now()
	}
	a.reason = why
	text := why.Error()
	if text == a.reported {
		return
	}
	a.reported = text
	if a.onReason != nil {
		a.onReason(text)
	}
}

func (a *waiter) waitError(ctx context.Context) error {
	return &WaitError{Waited: time.Since(a.start).Round(time.Second), Last: a.reason, Err: context.Cause(ctx)}
}

// repeats reports whether now adds nothing to the last message: a kubelet
// alternates between pulling an image and backing off, with different messages,
// of which the registry's is kept.
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

// hopeless reports whether waiting cannot change err.
func (v *view) isPermanent(err error) bool {
	var none *NoPodsError
	var stopped *NotRunningError
	switch {
	case errors.As(err, &none):
		return none.Permanent
	case !errors.As(err, &stopped):
		return true
	case v.set == nil:
		return stopped.Permanent
	default:
		return stopped.Permanent && (stopped.podContinues || v.set.finished)
	}
}

// alive reports whether a watch on the pods can show that the container runs.
// It is false for a workload without pods, or with only ended pods, which has
// to be requested itself.
func (v *view) hasActivePod() bool {
	for i := range v.pods {
		if phase := v.pods[i].Status.Phase; phase != corev1.PodSucceeded && phase != corev1.PodFailed {
			return true
		}
	}
	return false
}

func deletedWhileWaiting(pod *corev1.Pod, container string) error {
	e := newNotRunning(pod, container)
	e.Reason, e.Permanent = "Deleted", true
	e.text = fmt.Sprintf("pod %q was deleted while it was waited for", pod.Name)
	e.hint = fmt.Sprintf("type `kubectl get pods -n %s` to see those there are", pod.Namespace)
	return e
}

// WaitError is a wait that was ended before the container ran.
type WaitError struct {
	// Waited is how long, to the second, since there was something to wait for.
	Waited time.Duration
	// Last is what it waited for: a *NotRunningError or a *NoPodsError, or a
	// *RequestError of a server that could no longer be asked.
	Last error
	// Err is the cause of the context's end: context.DeadlineExceeded for a time
	// that is over.
	Err error
}

// Error returns how long the wait lasted, and for what.
func (e *WaitError) Error() string {
	return fmt.Sprintf("gave up after %v: %v", e.Waited, e.Last)
}

// Hint is that of what it waited for.
func (e *WaitError) Hint() string {
	var hinting interface{ Hint() string }
	if errors.As(e.Last, &hinting) {
		return hinting.Hint()
	}
	return ""
}

// Unwrap gives Err and Last.
func (e *WaitError) Unwrap() []error { return []error{e.Err, e.Last} }
