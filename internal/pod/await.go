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
	awaitEvery = time.Second     // the least time between two requests
	awaitFresh = 5 * time.Second // how long one watch is used
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
		watcher: watcher{client: c, namespace: req.Namespace, fresh: awaitFresh},
		req:     req, said: said, news: eventReader{asked: time.Now()},
	}
	for {
		looked := time.Now()
		found, err := a.look(ctx)
		switch {
		case err == nil:
			return found, nil
		case a.last != nil && ctx.Err() != nil:
			return nil, a.ended(ctx)
		case !errors.Is(err, errAgain):
			return nil, err
		case !pace(ctx, looked, awaitEvery):
			return nil, a.ended(ctx)
		}
	}
}

// errAgain means that the pods must be requested again.
var errAgain = errors.New("look again")

type waiter struct {
	watcher
	req  Request
	said func(string)

	begin time.Time   // when the wait began
	last  error       // why the container does not run
	heard string      // the last message about that
	pod   *corev1.Pod // the named pod, as it was first read
	news  eventReader
}

func (a *waiter) look(ctx context.Context) (*Found, error) {
	v, err := a.client.look(ctx, a.req)
	switch {
	case err == nil:
	case a.last == nil || ctx.Err() != nil:
		return nil, err
	case a.pod != nil && missing(err):
		return nil, vanished(a.pod, a.req.Container)
	case !apiclient.IsTransient(err):
		return nil, err
	default:
		a.say(err)
		return nil, errAgain
	}
	if v.group == nil && a.pod == nil {
		first := v.pods[0]
		a.pod = &first
	}
	a.news.look(ctx, a.client, v)
	found, err := a.judge(v)
	if errors.Is(err, errAgain) && v.alive() {
		a.follow(ctx, v.query(), v.match(), func(pod *corev1.Pod, deleted bool) bool {
			if v.group == nil && deleted {
				found, err = nil, vanished(pod, a.req.Container)
				return true
			}
			v.apply(pod, deleted)
			found, err = a.judge(v)
			return !errors.Is(err, errAgain) || !v.alive()
		})
	}
	return found, err
}

// judge returns the container if it runs, or the error that ends the wait.
// Otherwise it reports why the container does not run yet, and returns
// errAgain.
func (a *waiter) judge(v *view) (*Found, error) {
	if a.pod != nil && a.pod.UID != v.pods[0].UID {
		return nil, vanished(a.pod, a.req.Container)
	}
	found, err := v.settle()
	if err == nil || v.hopeless(err) {
		return found, err
	}
	a.say(a.news.add(err))
	return nil, errAgain
}

// say passes on why, unless it was said last.
func (a *waiter) say(why error) {
	if repeats(a.last, why) {
		return
	}
	if a.last == nil {
		a.begin = time.Now()
	}
	a.last = why
	text := why.Error()
	if text == a.heard {
		return
	}
	a.heard = text
	if a.said != nil {
		a.said(text)
	}
}

func (a *waiter) ended(ctx context.Context) error {
	return &WaitError{Waited: time.Since(a.begin).Round(time.Second), Last: a.last, Err: context.Cause(ctx)}
}

// repeats reports whether now adds nothing to the last message: a kubelet
// alternates between pulling an image and backing off, with different messages,
// of which the registry's is kept.
func repeats(last, now error) bool {
	var before, after *NotRunningError
	if !errors.As(last, &before) || !errors.As(now, &after) || !before.pulling() || !after.pulling() {
		return false
	}
	same := before.Pod == after.Pod && before.Container == after.Container
	return same && (after.Reason == "ImagePullBackOff" || strings.Contains(before.Message, after.Message))
}

func (e *NotRunningError) pulling() bool {
	return e.Reason == "ErrImagePull" || e.Reason == "ImagePullBackOff"
}

// hopeless reports whether waiting cannot change err.
func (v *view) hopeless(err error) bool {
	var none *NoPodsError
	var stopped *NotRunningError
	switch {
	case errors.As(err, &none):
		return none.Permanent
	case !errors.As(err, &stopped):
		return true
	case v.group == nil:
		return stopped.Permanent
	default:
		return stopped.Permanent && (stopped.lasting || v.group.finished)
	}
}

// alive reports whether a watch on the pods can show that the container runs.
// It is false for a workload without pods, or with only ended pods, which has
// to be requested itself.
func (v *view) alive() bool {
	for i := range v.pods {
		if phase := v.pods[i].Status.Phase; phase != corev1.PodSucceeded && phase != corev1.PodFailed {
			return true
		}
	}
	return false
}

func vanished(pod *corev1.Pod, container string) error {
	e := about(pod, container)
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
