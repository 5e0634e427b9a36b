package pod

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
)

// view is the state of the pods of a request.
type view struct {
	req     Request
	group   *group       // nil for a pod that was named
	pods    []corev1.Pod // one, if it was named
	version string       // from which a watch can start
}

// look requests the pods. Errors are those of Find that come before a pod is
// chosen.
func (c *Client) look(ctx context.Context, req Request) (*view, error) {
	if req.Target.Kind == kindPod {
		pod, err := c.Get(ctx, req.Namespace, req.Target.Name)
		var refused *RequestError
		if apierrors.IsForbidden(err) && errors.As(err, &refused) {
			return nil, &GetForbiddenError{Err: refused}
		}
		if err != nil {
			return nil, err
		}
		return &view{req: req, pods: []corev1.Pod{*pod}, version: pod.ResourceVersion}, nil
	}
	group, err := c.gather(ctx, req)
	if err != nil {
		return nil, err
	}
	v := &view{req: req, group: group}
	v.pods, v.version, err = c.list(ctx, req.Namespace, group.selector)
	if err != nil {
		return nil, err
	}
	v.pods = slices.DeleteFunc(v.pods, func(pod corev1.Pod) bool { return !group.has(&pod) })
	return v, nil
}

func (c *Client) gather(ctx context.Context, req Request) (*group, error) {
	if req.Target == (Target{}) {
		return selected(req.Namespace, req.Selector)
	}
	return c.group(ctx, req.Namespace, req.Target)
}

// has reports whether a pod belongs to the group.
func (g *group) has(pod *corev1.Pod) bool {
	return g.selector.Matches(labels.Set(pod.Labels)) && (!g.controls || !controlledByAnother(pod, g.uid))
}

// match returns the selector of query, for servers that ignore it.
func (v *view) match() matcher {
	if v.group == nil {
		return podNamed(v.req.Target.Name)
	}
	return matcher{selects: func(pod *corev1.Pod) bool { return v.group.selector.Matches(labels.Set(pod.Labels)) }}
}

// apply updates the view with one event of a watch. A pod that no longer
// matches the selector is removed.
func (v *view) apply(pod *corev1.Pod, deleted bool) {
	v.pods = slices.DeleteFunc(v.pods, func(old corev1.Pod) bool { return old.Name == pod.Name })
	if !deleted && (v.group == nil || v.group.has(pod)) {
		v.pods = append(v.pods, *pod)
	}
}

// query is that of a watch that takes over from the view.
func (v *view) query() url.Values {
	if v.group == nil {
		return watchQuery("fieldSelector", nameIs(v.req.Target.Name), v.version)
	}
	return watchQuery("labelSelector", v.group.selector.String(), v.version)
}

// settle chooses the container, or returns the error that says why there is
// none to choose.
func (v *view) settle() (*Found, error) {
	if len(v.pods) == 0 {
		return nil, v.none()
	}
	if v.group == nil {
		return settle(&v.pods[0], v.req.Container)
	}
	found, why, err := v.best()
	if err != nil {
		return nil, err
	}
	if len(v.pods) > 1 {
		note := fmt.Sprintf("%s has %d pods: chose %q (%s)", v.group.title, len(v.pods), found.Pod.Name, why)
		found.Notes = slices.Insert(found.Notes, 0, note)
	}
	return found, nil
}

// best is the first of Rank in which the container runs, and why it was taken;
// where it runs in none, the error is what holds the first one up.
func (v *view) best() (found *Found, why string, err error) {
	ranked := rank(v.pods)
	for i := range ranked {
		found, refusal := settle(&ranked[i], v.req.Container)
		switch {
		case refusal == nil && i == 0:
			_, why := best(v.pods)
			return found, why, nil
		case refusal == nil:
			return found, "its container runs", nil
		case i == 0:
			err = refusal
		}
	}
	return nil, "", err
}

func (v *view) none() error {
	return &NoPodsError{
		Namespace: v.req.Namespace, Target: v.req.Target, Selector: v.group.selector.String(),
		Permanent: v.group.idle, text: v.group.noPods, hint: v.group.noPodsHint,
	}
}

// settle chooses the container of a pod that has been chosen.
func settle(pod *corev1.Pod, wanted string) (*Found, error) {
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
