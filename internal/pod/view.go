package pod

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
)

// view is the state of the pods that a request matches. It is not safe for
// concurrent use.
type view struct {
	req     Request
	set     *podSet      // nil if the request names a pod
	pods    []corev1.Pod // exactly one if the request names a pod
	version string       // the resourceVersion from which a watch can start
}

// readView requests the pods that req matches. Errors are those of Find, except
// *UnknownContainerError and *NotRunningError.
func (c *Client) readView(ctx context.Context, req Request) (*view, error) {
	if req.Target.Kind == kindPod {
		pod, err := c.Get(ctx, req.Namespace, req.Target.Name)
		var forbidden *RequestError
		if apierrors.IsForbidden(err) && errors.As(err, &forbidden) {
			return nil, &GetForbiddenError{Err: forbidden}
		}
		if err != nil {
			return nil, err
		}
		return &view{req: req, pods: []corev1.Pod{*pod}, version: pod.ResourceVersion}, nil
	}
	set, err := c.resolve(ctx, req)
	if err != nil {
		return nil, err
	}
	v := &view{req: req, set: set}
	v.pods, v.version, err = c.list(ctx, req.Namespace, set.selector)
	if err != nil {
		return nil, err
	}
	v.pods = slices.DeleteFunc(v.pods, func(pod corev1.Pod) bool { return !set.has(&pod) })
	return v, nil
}

// resolve returns the set of pods of a request that does not name a pod.
func (c *Client) resolve(ctx context.Context, req Request) (*podSet, error) {
	if req.Target == (Target{}) {
		return newSelectorSet(req.Namespace, req.Selector)
	}
	return c.podSet(ctx, req.Namespace, req.Target)
}

// has reports whether a pod belongs to the set.
func (s *podSet) has(pod *corev1.Pod) bool {
	return s.selector.Matches(labels.Set(pod.Labels)) && (!s.ownedOnly || !controlledByAnother(pod, s.uid))
}

// match returns the matcher for the events of a watch that uses v.query.
func (v *view) match() matcher {
	if v.set == nil {
		return podNamed(v.req.Target.Name)
	}
	return matcher{matches: func(pod *corev1.Pod) bool { return v.set.selector.Matches(labels.Set(pod.Labels)) }}
}

// apply updates the view with one event of a watch. A pod that no longer
// matches the selector is removed.
func (v *view) apply(pod *corev1.Pod, deleted bool) {
	v.pods = slices.DeleteFunc(v.pods, func(old corev1.Pod) bool { return old.Name == pod.Name })
	if !deleted && (v.set == nil || v.set.has(pod)) {
		v.pods = append(v.pods, *pod)
	}
}

// query returns the URL query of a watch that reports the changes since the
// pods were read.
func (v *view) query() url.Values {
	if v.set == nil {
		return watchQuery("fieldSelector", nameSelector(v.req.Target.Name), v.version)
	}
	return watchQuery("labelSelector", v.set.selector.String(), v.version)
}

// choose returns a running container, or an error with the reason why no
// container runs.
func (v *view) choose() (*Found, error) {
	if len(v.pods) == 0 {
		return nil, v.noPods()
	}
	if v.set == nil {
		return chooseRunning(&v.pods[0], v.req.Container)
	}
	found, why, err := v.best()
	if err != nil {
		return nil, err
	}
	if len(v.pods) > 1 {
		note := fmt.Sprintf("%s has %d pods: chose %q (%s)", v.set.title, len(v.pods), found.Pod.Name, why)
		found.Notes = slices.Insert(found.Notes, 0, note)
	}
	return found, nil
}

// best returns the first pod, in the order of rank, in which the container
// runs. why is the reason for the choice. If the container runs in no pod, err
// is the error for the first pod.
func (v *view) best() (found *Found, why string, err error) {
	ranked := rank(v.pods)
	for i := range ranked {
		found, refusal := chooseRunning(&ranked[i], v.req.Container)
		switch {
		case refusal == nil && i == 0:
			_, why := best(v.pods)
			return found, why, nil
		case refusal == nil:
			return found, "its container is running", nil
		case i == 0:
			err = refusal
		}
	}
	return nil, "", err
}

// age returns the time since the oldest pod was created, or 0 if there is none.
func (v *view) age() time.Duration {
	age := time.Duration(0)
	for i := range v.pods {
		if created := v.pods[i].CreationTimestamp; !created.IsZero() {
			age = max(age, time.Since(created.Time))
		}
	}
	return age
}

// noPods returns the error for a view without pods.
func (v *view) noPods() error {
	return &NoPodsError{
		Namespace: v.req.Namespace, Target: v.req.Target, Selector: v.set.selector.String(),
		Permanent: v.set.wantsNone, text: v.set.emptyText, hint: v.set.emptyHint,
	}
}

// chooseRunning chooses a container as ChooseContainer does. It returns an
// error if that container does not run.
func chooseRunning(pod *corev1.Pod, wanted string) (*Found, error) {
	var notes []string
	if pod.DeletionTimestamp != nil {
		notes = append(notes, fmt.Sprintf("pod %q is being deleted", pod.Name))
	}
	container, more, err := ChooseContainer(pod, wanted)
	if err != nil {
		return nil, err
	}
	if err := checkRunning(pod, container); err != nil {
		return nil, err
	}
	return &Found{Pod: pod, Container: container, Notes: append(notes, more...)}, nil
}

func byName(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) }
