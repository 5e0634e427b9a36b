package pod

import (
	"context"
	"time"

	"kshell/internal/apiclient"

	corev1 "k8s.io/api/core/v1"
)

const (
	pollInterval = 5 * time.Second
	watchAge     = time.Minute
)

// Vigil reports what happens to one running container, each event once, from
// the pod states that it is shown. It is not safe for concurrent use.
type statusTracker struct {
	before    *corev1.Pod
	container string
	last      string
	ended     bool
}

// NewVigil returns a Vigil for a container in the state in which it was found.
func newStatusTracker(found *Found) *statusTracker {
	return &statusTracker{before: found.Pod, container: found.Container}
}

// See takes the current state of the pod or, if deleted is set, its last state,
// which may be nil. It returns what Fate returns, but "" for a sentence that it
// returned the time before, for no pod (a bookmark), and for a pod older than
// the one that was found. After it has returned over, it returns no more
// sentences.
func (v *statusTracker) update(pod *corev1.Pod, deleted bool) (sentence string, over bool) {
	switch {
	case v.ended, pod == nil && !deleted, pod != nil && older(pod.ResourceVersion, v.before.ResourceVersion):
		return "", v.ended
	}
	if deleted && (pod == nil || pod.UID == v.before.UID) {
		pod = v.finalState(pod)
	}
	sentence, v.ended = describeChange(v.before, pod, v.container)
	if sentence == v.last {
		return "", v.ended
	}
	v.last = sentence
	return sentence, v.ended
}

// last returns the last state of the pod if it shows how the container ended,
// else nil.
func (v *statusTracker) finalState(pod *corev1.Pod) *corev1.Pod {
	if pod != nil {
		if _, over := describeChange(v.before, pod, v.container); over {
			return pod
		}
	}
	return nil
}

// Fate requests the pod and returns what has happened to the container since it
// was found: see the function Fate. A pod that no longer exists is not an
// error. Every error is a *RequestError.
func (c *Client) DescribeChange(ctx context.Context, found *Found) (sentence string, over bool, err error) {
	pod, err := c.currentPod(ctx, found)
	if err != nil {
		return "", false, err
	}
	sentence, over = describeChange(found.Pod, pod, found.Container)
	return sentence, over, nil
}

// present returns the pod as it is now, or nil if it is gone.
func (c *Client) currentPod(ctx context.Context, found *Found) (*corev1.Pod, error) {
	pod, err := c.Get(ctx, found.Pod.Namespace, found.Pod.Name)
	if isNotFound(err) {
		return nil, nil // no pod, and no error
	}
	return pod, err
}

// Watch calls tell, in the caller's goroutine, with each sentence of Fate once.
// It returns nil after a sentence with over, the cause of ctx when ctx ends, or
// a *RequestError if the user may not read the pod any more. Failures of the
// connection and of the server are retried. It uses a watch or, where that is
// not allowed, requests the pod every 5 s.
func (c *Client) WatchChanges(ctx context.Context, found *Found, tell func(sentence string, over bool)) error {
	vigil := newStatusTracker(found)
	return c.WatchPod(ctx, found, func(pod *corev1.Pod, deleted bool) bool {
		sentence, over := vigil.update(pod, deleted)
		if sentence != "" {
			tell(sentence, over)
		}
		return over
	})
}

// Follow calls see with the pod each time it has changed. If deleted is set,
// pod is its last state or nil, and another pod may have its name. Follow
// returns nil when see returns true, else like Watch.
func (c *Client) WatchPod(ctx context.Context, found *Found, see func(pod *corev1.Pod, deleted bool) (enough bool)) error {
	over := false
	sees := func(pod *corev1.Pod, deleted bool) bool {
		over = see(pod, deleted)
		return over
	}
	w := watcher{client: c, namespace: found.Pod.Namespace, maxAge: watchAge}
	for {
		looked := time.Now()
		pod, err := c.currentPod(ctx, found)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !apiclient.IsTransient(err):
			return err
		case err == nil && !sees(pod, pod == nil):
			w.run(ctx, watchQuery("fieldSelector", nameSelector(pod.Name), pod.ResourceVersion), podNamed(pod.Name), sees)
		}
		switch {
		case over:
			return nil
		case !waitSince(ctx, looked, pollInterval):
			return context.Cause(ctx)
		}
	}
}
