package pod

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"kshell/internal/script"
)

// podSet is the set of pods of a workload, a service or a label selector.
type podSet struct {
	title    string // names the set to users: "deployment/web" in "deployment/web has 3 pods"
	selector labels.Selector

	// For workloads:
	uid       types.UID
	ownedOnly bool // the set excludes the pods that another controller owns
	finished  bool // the workload is a job that creates no more pods

	// For the error if the set is empty:
	emptyText, emptyHint string
	wantsNone            bool // the workload does not create pods now, so waiting does not help
}

// podSet requests the workload or service and returns its set of pods. The pods
// of a deployment are owned by its replica sets, and a service owns no pods.
// For these two kinds, therefore, the selector alone decides which pods are in
// the set.
func (c *Client) podSet(ctx context.Context, namespace string, target Target) (*podSet, error) {
	switch target.Kind {
	case kindDeployment:
		object := &appsv1.Deployment{}
		err := c.get(ctx, namespace, target, object)
		return newReplicatedSet(namespace, target, object, object.Spec.Selector, object.Spec.Replicas, false, err)
	case kindReplicaSet:
		object := &appsv1.ReplicaSet{}
		err := c.get(ctx, namespace, target, object)
		return newReplicatedSet(namespace, target, object, object.Spec.Selector, object.Spec.Replicas, true, err)
	case kindStatefulSet:
		object := &appsv1.StatefulSet{}
		err := c.get(ctx, namespace, target, object)
		return newReplicatedSet(namespace, target, object, object.Spec.Selector, object.Spec.Replicas, true, err)
	case kindController:
		object := &corev1.ReplicationController{}
		err := c.get(ctx, namespace, target, object)
		return newReplicatedSet(namespace, target, object, matchLabels(object.Spec.Selector), object.Spec.Replicas, true, err)
	case kindDaemonSet:
		return c.daemonSet(ctx, namespace, target)
	case kindJob:
		return c.job(ctx, namespace, target)
	case kindService:
		return c.service(ctx, namespace, target)
	}
	return nil, unknownKind(target.Kind)
}

// newReplicatedSet returns the set of pods of a workload that has a number of
// replicas. err is the result of the request for the workload; newReplicatedSet
// returns err if it is not nil.
func newReplicatedSet(
	namespace string, target Target, object metav1.Object, selector *metav1.LabelSelector, replicas *int32,
	ownedOnly bool, err error,
) (*podSet, error) {
	if err != nil {
		return nil, err
	}
	s := podSet{
		uid: object.GetUID(), ownedOnly: ownedOnly, wantsNone: true,
		emptyText: fmt.Sprintf("%s is scaled to 0 replicas", target),
		emptyHint: fmt.Sprintf("type `kubectl scale %s --replicas=1 -n %s`", target, script.Quote(namespace)),
	}
	if replicas == nil || *replicas > 0 {
		wanted := int32(1) // the API's default
		if replicas != nil {
			wanted = *replicas
		}
		s.wantsNone = false
		s.emptyText = fmt.Sprintf("%s has no pods but wants %d", target, wanted) + replicaFailure(object)
		s.emptyHint = describeHint(namespace, target)
	}
	return newPodSet(namespace, target, selector, s)
}

// replicaFailure returns why the controller of the object cannot create pods,
// for example because of a quota or a policy. The reason comes from the
// condition ReplicaFailure; without this condition, it is "".
func replicaFailure(object metav1.Object) string {
	switch o := object.(type) {
	case *appsv1.Deployment:
		for _, c := range o.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				return reasonSuffix(c.Reason, c.Message)
			}
		}
	case *appsv1.ReplicaSet:
		for _, c := range o.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue {
				return reasonSuffix(c.Reason, c.Message)
			}
		}
	case *corev1.ReplicationController:
		for _, c := range o.Status.Conditions {
			if c.Type == corev1.ReplicationControllerReplicaFailure && c.Status == corev1.ConditionTrue {
				return reasonSuffix(c.Reason, c.Message)
			}
		}
	}
	return ""
}

func (c *Client) daemonSet(ctx context.Context, namespace string, target Target) (*podSet, error) {
	object := &appsv1.DaemonSet{}
	if err := c.get(ctx, namespace, target, object); err != nil {
		return nil, err
	}
	noPods := fmt.Sprintf("%s has no pods but wants %d", target, object.Status.DesiredNumberScheduled)
	if object.Status.DesiredNumberScheduled == 0 {
		noPods = fmt.Sprintf("%s has no pods: no node matches it", target)
	}
	return newPodSet(namespace, target, object.Spec.Selector, podSet{
		uid: object.UID, ownedOnly: true, emptyText: noPods, emptyHint: describeHint(namespace, target),
	})
}

func (c *Client) job(ctx context.Context, namespace string, target Target) (*podSet, error) {
	object := &batchv1.Job{}
	if err := c.get(ctx, namespace, target, object); err != nil {
		return nil, err
	}
	suspended := object.Spec.Suspend != nil && *object.Spec.Suspend
	finished := slices.ContainsFunc(object.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
	status := object.Status
	noPods := fmt.Sprintf("%s has no pods (%d succeeded, %d failed)", target, status.Succeeded, status.Failed)
	if suspended {
		noPods = fmt.Sprintf("%s has no pods: it is suspended", target)
	}
	return newPodSet(namespace, target, object.Spec.Selector, podSet{
		uid: object.UID, ownedOnly: true, finished: finished,
		wantsNone: suspended || finished, emptyText: noPods, emptyHint: describeHint(namespace, target),
	})
}

func (c *Client) service(ctx context.Context, namespace string, target Target) (*podSet, error) {
	object := &corev1.Service{}
	if err := c.get(ctx, namespace, target, object); err != nil {
		return nil, err
	}
	if object.Spec.Type == corev1.ServiceTypeExternalName { // the API ignores a selector of such a service
		return nil, &NoPodsError{
			Namespace: namespace, Target: target,
			text: fmt.Sprintf("%s has no pods: it is an alias of the host %q (type ExternalName)",
				target, object.Spec.ExternalName),
			hint:      fmt.Sprintf("name a pod: type `kubectl get pods -n %s` to list the pods", script.Quote(namespace)),
			Permanent: true,
		}
	}
	selector := matchLabels(object.Spec.Selector)
	return newPodSet(namespace, target, selector, podSet{
		emptyText: fmt.Sprintf("%s selects no pods: no pod has the labels %s", target, metav1.FormatLabelSelector(selector)),
		emptyHint: labelsHint(namespace),
	})
}

// newPodSet returns s with its title and selector set. A missing selector is an
// error. An empty selector is also an error, because it would match every pod
// of the namespace.
func newPodSet(namespace string, target Target, selector *metav1.LabelSelector, s podSet) (*podSet, error) {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, &NoPodsError{
			Namespace: namespace, Target: target, err: err,
			text: fmt.Sprintf("%s has an invalid selector: %v", target, err),
			hint: describeHint(namespace, target), Permanent: true,
		}
	}
	if selector == nil || parsed.Empty() {
		return nil, &NoPodsError{
			Namespace: namespace, Target: target,
			text:      fmt.Sprintf("%s has no selector, so its pods cannot be found", target),
			hint:      fmt.Sprintf("name a pod: type `kubectl get pods -n %s` to list the pods", script.Quote(namespace)),
			Permanent: true,
		}
	}
	s.title, s.selector = target.String(), parsed
	return &s, nil
}

// newSelectorSet returns the set of pods that a label selector matches. typed
// is the selector as the user typed it; "" matches every pod of the namespace.
func newSelectorSet(namespace, typed string) (*podSet, error) {
	parsed, err := labels.Parse(typed)
	if err != nil {
		return nil, &TargetError{
			text: fmt.Sprintf("%q is not a valid label selector: %v", typed, err),
			hint: "type LABEL=VALUE, LABEL!=VALUE, 'LABEL in (A,B)' or LABEL; separate several by commas",
		}
	}
	s := &podSet{
		title: fmt.Sprintf("the selector %q", parsed.String()), selector: parsed,
		emptyText: fmt.Sprintf("no pod in namespace %q has the labels %s", namespace, parsed),
		emptyHint: labelsHint(namespace),
	}
	if parsed.Empty() {
		s.title = fmt.Sprintf("namespace %q", namespace)
		s.emptyText = fmt.Sprintf("there are no pods in namespace %q", namespace)
		s.emptyHint = "type -n NAMESPACE for another namespace"
	}
	return s, nil
}

func matchLabels(set map[string]string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: set}
}

func describeHint(namespace string, target Target) string {
	return fmt.Sprintf("type `kubectl describe %s -n %s` to see why", target, script.Quote(namespace))
}

func labelsHint(namespace string) string {
	return fmt.Sprintf("type `kubectl get pods --show-labels -n %s` to list the pods and their labels",
		script.Quote(namespace))
}

func controlledByAnother(pod *corev1.Pod, uid types.UID) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.UID != uid
}
