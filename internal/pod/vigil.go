package pod

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	vigilEvery = 5 * time.Second
	vigilFresh = time.Minute
)

// Vigil tells what becomes of one running container, each thing once, from
// whatever is shown to it. It is not safe for concurrent use.
type Vigil struct {
	before    *corev1.Pod
	container string
	told      string
	over      bool
}

// NewVigil begins with the container as it was found.
func NewVigil(found *Found) *Vigil {
	return &Vigil{before: found.Pod, container: found.Container}
}

// See takes the pod as it is now, or, with deleted, as it was last; pod may then
// be nil. Its answer is Fate's, and "" for what was told at the time before, for
// no pod at all (a bookmark), and for a pod older than the one that was found.
// After an over it has nothing more to tell.
func (v *Vigil) See(pod *corev1.Pod, deleted bool) (sentence string, over bool) {
	switch {
	case v.over, pod == nil && !deleted, pod != nil && older(pod.ResourceVersion, v.before.ResourceVersion):
		return "", v.over
	}
	if deleted && (pod == nil || pod.UID == v.before.UID) {
		pod = v.last(pod)
	}
	sentence, v.over = Fate(v.before, pod, v.container)
	if sentence == v.told {
		return "", v.over
	}
	v.told = sentence
	return sentence, v.over
}

// last is the pod as it was last if that tells how the container ended, else nil.
func (v *Vigil) last(pod *corev1.Pod) *corev1.Pod {
	if pod != nil {
		if _, over := Fate(v.before, pod, v.container); over {
			return pod
		}
	}
	return nil
}

// Fate asks for the pod and says what has become of the container since it was
// found: see the function Fate. A pod that is not there any more is an answer;
// every error is a *RequestError.
func (c *Client) Fate(ctx context.Context, found *Found) (sentence string, over bool, err error) {
	pod, err := c.present(ctx, found)
	if err != nil {
		return "", false, err
	}
	sentence, over = Fate(found.Pod, pod, found.Container)
	return sentence, over, nil
}

// present returns the pod as it is now, or nil if it is gone.
func (c *Client) present(ctx context.Context, found *Found) (*corev1.Pod, error) {
	pod, err := c.Get(ctx, found.Pod.Namespace, found.Pod.Name)
	if missing(err) {
		return nil, nil // no pod, and no error
	}
	return pod, err
}

// Watch tells what becomes of the container from now on, in the caller's
// goroutine: each sentence of Fate once, until one is over (nil is returned), ctx
// ends (its cause is returned), or the pod may no longer be looked at (a
// *RequestError is returned). Failures of the link and of the server are outlasted.
// It watches, and where that is not allowed, looks every 5 s.
func (c *Client) Watch(ctx context.Context, found *Found, tell func(sentence string, over bool)) error {
	vigil := NewVigil(found)
	return c.Follow(ctx, found, func(pod *corev1.Pod, deleted bool) bool {
		sentence, over := vigil.See(pod, deleted)
		if sentence != "" {
			tell(sentence, over)
		}
		return over
	})
}

// Follow calls see with the pod each time it has changed. If deleted is set,
// pod is its last state or nil, and another pod may have its name. Follow
// returns nil when see returns true, else like Watch.
func (c *Client) Follow(ctx context.Context, found *Found, see func(pod *corev1.Pod, deleted bool) (enough bool)) error {
	over := false
	sees := func(pod *corev1.Pod, deleted bool) bool {
		over = see(pod, deleted)
		return over
	}
	w := watcher{client: c, namespace: found.Pod.Namespace, fresh: vigilFresh}
	for {
		looked := time.Now()
		pod, err := c.present(ctx, found)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !passing(err):
			return err
		case err == nil && !sees(pod, pod == nil):
			w.follow(ctx, watchQuery("fieldSelector", nameIs(pod.Name), pod.ResourceVersion), podNamed(pod.Name), sees)
		}
		switch {
		case over:
			return nil
		case !pace(ctx, looked, vigilEvery):
			return context.Cause(ctx)
		}
	}
}
