package pod

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/apiclient"
)

const (
	pollInterval = 5 * time.Second // the shortest time between two requests of WatchPod
	watchAge     = time.Minute     // a watch of WatchPod ends after this time, and the pod is requested again
)

// statusTracker compares successive states of a pod, and reports each change of
// one container once. It is not safe for concurrent use.
type statusTracker struct {
	before    *corev1.Pod // a state in which the container ran
	container string

	last  string // the last sentence that update returned
	ended bool   // update has reported that the container ended
}

// newStatusTracker returns a statusTracker for a container that Find has found.
func newStatusTracker(found *Found) *statusTracker {
	return &statusTracker{before: found.Pod, container: found.Container}
}

// update takes the current state of the pod. If deleted is true, pod is the
// last state of the deleted pod, or nil. update returns the results of
// describeChange, but sentence is "" in these cases:
//
//   - The sentence is the same as the last one.
//   - pod is nil and deleted is false, as for a bookmark of a watch.
//   - pod is older than t.before.
//   - An earlier call has reported that the container ended.
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

// finalState takes the last state of a deleted pod. It returns pod if pod shows
// how the container ended, else nil.
func (t *statusTracker) finalState(pod *corev1.Pod) *corev1.Pod {
	if pod != nil {
		if _, ended := describeChange(t.before, pod, t.container); ended {
			return pod
		}
	}
	return nil
}

// DescribeChange requests the pod and returns a sentence, without a final
// period, about what has happened to the container since it was found, or "" if
// nothing has happened. ended reports that the container's processes have
// ended. A pod that no longer exists is not an error. Every error is a
// *RequestError.
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
// the container, with the results of DescribeChange. It returns nil once the
// container has ended. Otherwise it returns an error as WatchPod does.
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
// each time the pod changes. If deleted is true, the pod no longer exists, and
// the argument pod is its last state or nil. Later calls can be about another
// pod with the same name. WatchPod returns nil when onPod returns true (stop),
// the cause of ctx when ctx ends, or a *RequestError if retrying does not help,
// for example because the user is no longer allowed to get the pod. It retries
// after errors of the connection and of the server. Where watching is not
// allowed, it requests the pod every 5 s.
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
