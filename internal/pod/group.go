package pod

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// group is how a workload or service gathers its pods.
type group struct {
	selector labels.Selector
	uid      types.UID
	controls bool // pods that another controller owns are not its own

	noPods, noPodsHint string // to be said when the selector matches none
}

// group reads the workload or service. A deployment's pods are owned by its
// replica sets, a service's by anybody: there the selector alone decides.
func (c *Client) group(ctx context.Context, namespace string, target Target) (*group, error) {
	switch target.Kind {
	case kindDeployment:
		object := &appsv1.Deployment{}
		err := c.get(ctx, namespace, target, object)
		return replicated(namespace, target, object, object.Spec.Selector, object.Spec.Replicas, false, err)
	case kindReplicaSet:
		object := &appsv1.ReplicaSet{}
		err := c.get(ctx, namespace, target, object)
		return replicated(namespace, target, object, object.Spec.Selector, object.Spec.Replicas, true, err)
	case kindStatefulSet:
		object := &appsv1.StatefulSet{}
		err := c.get(ctx, namespace, target, object)
		return replicated(namespace, target, object, object.Spec.Selector, object.Spec.Replicas, true, err)
	case kindController:
		object := &corev1.ReplicationController{}
		err := c.get(ctx, namespace, target, object)
		return replicated(namespace, target, object, matching(object.Spec.Selector), object.Spec.Replicas, true, err)
	case kindDaemonSet:
		return c.daemonSet(ctx, namespace, target)
	case kindJob:
		return c.job(ctx, namespace, target)
	case kindService:
		return c.service(ctx, namespace, target)
	}
	return nil, unknownKind(target.Kind)
}

func replicated(
	namespace string, target Target, object metav1.Object, selector *metav1.LabelSelector, replicas *int32, controls bool, err error,
) (*group, error) {
	if err != nil {
		return nil, err
	}
	noPods := fmt.Sprintf("%s is scaled to 0 replicas", target)
	hint := fmt.Sprintf("type `kubectl scale %s --replicas=1 -n %s`", target, namespace)
	if replicas == nil || *replicas > 0 {
		wanted := int32(1) // the API's default
		if replicas != nil {
			wanted = *replicas
		}
		noPods = fmt.Sprintf("%s has no pods, though it wants %d", target, wanted)
		hint = describe(namespace, target)
	}
	return newGroup(namespace, target, selector, group{uid: object.GetUID(), controls: controls, noPods: noPods, noPodsHint: hint})
}

func (c *Client) daemonSet(ctx context.Context, namespace string, target Target) (*group, error) {
	object := &appsv1.DaemonSet{}
	if err := c.get(ctx, namespace, target, object); err != nil {
		return nil, err
	}
	noPods := fmt.Sprintf("%s has no pods, though it wants %d", target, object.Status.DesiredNumberScheduled)
	if object.Status.DesiredNumberScheduled == 0 {
		noPods = fmt.Sprintf("%s has no pods: no node matches it", target)
	}
	return newGroup(namespace, target, object.Spec.Selector, group{
		uid: object.UID, controls: true, noPods: noPods, noPodsHint: describe(namespace, target),
	})
}

func (c *Client) job(ctx context.Context, namespace string, target Target) (*group, error) {
	object := &batchv1.Job{}
	if err := c.get(ctx, namespace, target, object); err != nil {
		return nil, err
	}
	noPods := fmt.Sprintf("%s has no pods (%d succeeded, %d failed)", target, object.Status.Succeeded, object.Status.Failed)
	if object.Spec.Suspend != nil && *object.Spec.Suspend {
		noPods = fmt.Sprintf("%s has no pods: it is suspended", target)
	}
	return newGroup(namespace, target, object.Spec.Selector, group{
		uid: object.UID, controls: true, noPods: noPods, noPodsHint: describe(namespace, target),
	})
}

func (c *Client) service(ctx context.Context, namespace string, target Target) (*group, error) {
	object := &corev1.Service{}
	if err := c.get(ctx, namespace, target, object); err != nil {
		return nil, err
	}
	selector := matching(object.Spec.Selector)
	return newGroup(namespace, target, selector, group{
		noPods:     fmt.Sprintf("%s selects no pods: none has the labels %s", target, metav1.FormatLabelSelector(selector)),
		noPodsHint: fmt.Sprintf("type `kubectl get pods --show-labels -n %s` to see the labels there are", namespace),
	})
}

// newGroup adds the selector. An empty one would match every pod of the
// namespace, so it is refused like a missing one.
func newGroup(namespace string, target Target, selector *metav1.LabelSelector, g group) (*group, error) {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, &NoPodsError{
			Namespace: namespace, Target: target, err: err,
			text: fmt.Sprintf("%s has a selector that cannot be read: %v", target, err), hint: describe(namespace, target),
		}
	}
	if selector == nil || parsed.Empty() {
		return nil, &NoPodsError{
			Namespace: namespace, Target: target,
			text: fmt.Sprintf("%s has no selector, so it leads to no pods", target),
			hint: fmt.Sprintf("name a pod itself: type `kubectl get pods -n %s` to see which there are", namespace),
		}
	}
	g.selector = parsed
	return &g, nil
}

func matching(set map[string]string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: set}
}

func describe(namespace string, target Target) string {
	return fmt.Sprintf("type `kubectl describe %s -n %s` to see why", target, namespace)
}

func controlledByAnother(pod *corev1.Pod, uid types.UID) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.UID != uid
}
