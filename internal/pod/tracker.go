package pod

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/apiclient"
)

const (
	pollInterval = 5 * time.Second // the shortest time between two requests of WatchPod
	watchAge     = time.Minute     // how long one watch of WatchPod is used
)

// statusTracker reports what happens to one running container, each change
// once, from successive states of its pod. It is not safe for concurrent use.
type statusTracker struct {
	before    *corev1.Pod // in which the container ran
	container string

	last  string // the last sentence
	ended bool   // update has returned ended
}

// newStatusTracker returns a statusTracker for a container that Find has found.
func newStatusTracker(found *Found) *statusTracker {
	return &statusTracker{before: found.Pod, container: found.Container}
}

// update takes the current state of the pod or, if deleted is true, its last
// state, which may be nil. It returns the results of describeChange. The
// sentence is "" if it was the last one returned, if pod is nil and not deleted
// (a bookmark of a watch), if pod is older than the one that was found, and
// once ended has been returned.
func (t *statusTracker) update(pod *corev1.Pod, deleted bool) (sentence string, ended bool) {
	switch {
	case t.ended, pod == nil && !deleted, pod != nil && older(pod.ResourceVersion, t.before.ResourceVersion):
		return "", t.ended
	}
	if deleted && (pod == nil || pod.UID == t.before.UID) {
		pod = t.finalState(pod)
	}
	sentence, t.ended = describeChange(t.before, pod, t.container)
	if sentence == t.last {
		return "", t.ended
	}
	t.last = sentence
	return sentence, t.ended
}

// finalState returns the last state of a deleted pod if it shows how the
// container ended, else nil.
func (t *statusTracker) finalState(pod *corev1.Pod) *corev1.Pod {
	if pod != nil {
		if _, ended := describeChange(t.before, pod, t.container); ended {
			return pod
		}
	}
	return nil
}

// DescribeChange requests the pod and returns a sentence, without a final
// period, about what has happened to the container since it was found, or "".
// ended reports that the container's processes have ended. A pod that no longer
// exists is not an error. Every error is a *RequestError.
func (c *Client) DescribeChange(ctx context.Context, found *Found) (sentence string, ended bool, err error) {
	pod, err := c.currentPod(ctx, found)
	if err != nil {
		return "", false, err
	}
	sentence, ended = describeChange(found.Pod, pod, found.Container)
	return sentence, ended, nil
}

// currentPod returns the current state of the pod, or nil if it does not exist.
func (c *Client) currentPod(ctx context.Context, found *Found) (*corev1.Pod, error) {
	pod, err := c.Get(ctx, found.Pod.Namespace, found.Pod.Name)
	if isNotFound(err) {
		return nil, nil // no pod, and no error
	}
	return pod, err
}

// WatchChanges calls onChange, in the caller's goroutine, for each change of
// the container, with the results of DescribeChange. It returns nil after a
// change that has ended the container, else an error as WatchPod does.
func (c *Client) WatchChanges(ctx context.Context, found *Found, onChange func(sentence string, ended bool)) error {
	tracker := newStatusTracker(found)
	return c.WatchPod(ctx, found, func(pod *corev1.Pod, deleted bool) bool {
		sentence, ended := tracker.update(pod, deleted)
		if sentence != "" {
			onChange(sentence, ended)
		}
		return ended
	})
}

// WatchPod calls onPod, in the caller's goroutine, with the pod at once and
// each time the pod changes. If deleted is true, pod is its last state or nil;
// another pod may then have its name. WatchPod returns nil when onPod returns
// true (stop), the cause of ctx when ctx ends, or a *RequestError if the user
// may no longer get the pod. Errors of the connection and of the server are
// retried. Where watching is not allowed, the pod is requested every 5 s.
func (c *Client) WatchPod(
	ctx context.Context, found *Found, onPod func(pod *corev1.Pod, deleted bool) (stop bool),
) error {
	stopped := false
	update := func(pod *corev1.Pod, deleted bool) bool {
		stopped = onPod(pod, deleted)
		return stopped
	}
	w := watcher{client: c, namespace: found.Pod.Namespace, maxAge: watchAge}
	for {
		requested := time.Now()
		pod, err := c.currentPod(ctx, found)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !apiclient.IsTransient(err):
			return err
		case err == nil && !update(pod, pod == nil):
			query := watchQuery("fieldSelector", nameSelector(pod.Name), pod.ResourceVersion)
			w.run(ctx, query, podNamed(pod.Name), update)
		}
		switch {
		case stopped:
			return nil
		case !waitSince(ctx, requested, pollInterval):
			return context.Cause(ctx)
		}
	}
}
