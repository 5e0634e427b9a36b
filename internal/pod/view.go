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
	set     *podSet      // nil for a pod that was named
	pods    []corev1.Pod // one, if it was named
	version string       // from which a watch can start
}

// look requests the pods. Errors are those of Find that come before a pod is
// chosen.
func (c *Client) readView(ctx context.Context, req Request) (*view, error) {
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
	group, err := c.resolve(ctx, req)
	if err != nil {
		return nil, err
	}
	v := &view{req: req, set: group}
	v.pods, v.version, err = c.list(ctx, req.Namespace, group.selector)
	if err != nil {
		return nil, err
	}
	v.pods = slices.DeleteFunc(v.pods, func(pod corev1.Pod) bool { return !group.has(&pod) })
	return v, nil
}

func (c *Client) resolve(ctx context.Context, req Request) (*podSet, error) {
	if req.Target == (Target{}) {
		return newSelectorSet(req.Namespace, req.Selector)
	}
	return c.podSet(ctx, req.Namespace, req.Target)
}

// has reports whether a pod belongs to the group.
func (g *podSet) has(pod *corev1.Pod) bool {
	return g.selector.Matches(labels.Set(pod.Labels)) && (!g.ownedOnly || !controlledByAnother(pod, g.uid))
}

// match returns the selector of query, for servers that ignore it.
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

// query is that of a watch that takes over from the view.
func (v *view) query() url.Values {
	if v.set == nil {
		return watchQuery("fieldSelector", nameSelector(v.req.Target.Name), v.version)
	}
	return watchQuery("labelSelector", v.set.selector.String(), v.version)
}

// settle chooses the container, or returns the error that says why there is
// none to choose.
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

// best is the first of Rank in which the container runs, and why it was taken;
// where it runs in none, the error is what holds the first one up.
func (v *view) best() (found *Found, why string, err error) {
	ranked := rank(v.pods)
	for i := range ranked {
		found, refusal := chooseRunning(&ranked[i], v.req.Container)
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

func (v *view) noPods() error {
	return &NoPodsError{
		Namespace: v.req.Namespace, Target: v.req.Target, Selector: v.set.selector.String(),
		Permanent: v.set.wantsNone, text: v.set.emptyText, hint: v.set.emptyHint,
	}
}

// settle chooses the container of a pod that has been chosen.
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
