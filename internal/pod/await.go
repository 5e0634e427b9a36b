package pod

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	awaitEvery = time.Second     // looks are no nearer to each other
	awaitFresh = 5 * time.Second // a watch is believed so long
)

// Await is Find that waits until the container runs, or ctx ends; nothing else
// limits it. It says why the container does not run yet, at once and each time
// that this changes, in one sentence without a final period: what the API's
// status tells, and after 5 s without a container also the last warning among the
// pod's events. said may be nil; it is called in the caller's goroutine.
//
// It does not wait for what cannot come true: a named pod that has ended or is
// being deleted, a container that will not be started again, a workload that is
// scaled to 0, a container that does not exist. A workload's pods that have ended
// or are being deleted are waited out, until its job is finished; so are failures
// of the link and of the server, after the first answer. What is watched is the
// one pod or the selector; where watching is not allowed, it looks every second.
//
// Its errors are those of Find, and a *WaitError if ctx ended after there was
// something to wait for.
func (c *Client) Await(ctx context.Context, req Request, said func(why string)) (*Found, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	a := &await{
		watcher: watcher{client: c, namespace: req.Namespace, fresh: awaitFresh},
		req:     req, said: said, news: news{asked: time.Now()},
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

// errAgain is a look that has to be followed by another.
var errAgain = errors.New("look again")

type await struct {
	watcher
	req  Request
	said func(string)

	begin time.Time   // when there was something to wait for
	last  error       // what is waited for
	heard string      // what was said of it
	pod   *corev1.Pod // the named one, as it was first
	news  news
}

func (a *await) look(ctx context.Context) (*Found, error) {
	v, err := a.client.look(ctx, a.req)
	switch {
	case err == nil:
	case a.last == nil || ctx.Err() != nil:
		return nil, err
	case a.pod != nil && missing(err):
		return nil, vanished(a.pod, a.req.Container)
	case !passing(err):
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

// judge gives what was waited for, or the error that ends the wait, or says why
// not yet and gives errAgain.
func (a *await) judge(v *view) (*Found, error) {
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
func (a *await) say(why error) {
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

func (a *await) ended(ctx context.Context) error {
	return &WaitError{Waited: time.Since(a.begin).Round(time.Second), Last: a.last, Err: context.Cause(ctx)}
}

// repeats says whether now tells nothing that last has not told: an image is
// pulled and backed off from in turns, with different words, of which the
// registry's are to be kept.
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

// hopeless says whether err stays true however long one waits.
func (v *view) hopeless(err error) bool {
	var none *NoPodsError
	var stopped *NotRunningError
	switch {
	case errors.As(err, &none):
		return none.Final
	case !errors.As(err, &stopped):
		return true
	case v.group == nil:
		return stopped.Final
	default:
		return stopped.Final && (stopped.lasting || v.group.finished)
	}
}

// alive says whether a watch on the pods can show the container running: a
// workload without pods, or with none but ended ones, has to be asked itself.
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
	e.Reason, e.Final = "Deleted", true
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

// Error says how long it waited, and what for.
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
