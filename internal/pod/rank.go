package pod

import (
	"cmp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// rules is the order of preference among pods. The first rule with a result
// other than 0 decides; if the result is negative, the pod a is preferred,
// otherwise the pod b.
var rules = []struct {
	why     string // for users
	compare func(a, b *corev1.Pod) int
}{
	{"not being deleted", func(a, b *corev1.Pod) int {
		return trueFirst(a.DeletionTimestamp == nil, b.DeletionTimestamp == nil)
	}},
	{"running", func(a, b *corev1.Pod) int {
		return trueFirst(a.Status.Phase == corev1.PodRunning, b.Status.Phase == corev1.PodRunning)
	}},
	{"ready", func(a, b *corev1.Pod) int { return trueFirst(readySince(a) != nil, readySince(b) != nil) }},
	{"ready longest", func(a, b *corev1.Pod) int {
		if readySince(a) == nil || readySince(b) == nil {
			return 0
		}
		return readySince(a).Compare(*readySince(b))
	}},
	{"fewest restarts", func(a, b *corev1.Pod) int { return cmp.Compare(restarts(a), restarts(b)) }},
	{"newest", func(a, b *corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) }},
	{"first by name", func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) }},
}

// rank returns the pods sorted by rules, best first: not being deleted,
// running, ready, ready longest, fewest restarts (of all containers together),
// newest, first by name. pods is not changed.
func rank(pods []corev1.Pod) []corev1.Pod {
	ranked := slices.Clone(pods)
	slices.SortStableFunc(ranked, func(a, b corev1.Pod) int {
		order, _ := compare(&a, &b)
		return order
	})
	return ranked
}

// best returns the pod that rank puts first, and the rule that puts it before
// the second pod, such as "ready longest". If there is only one pod, why is "".
// If there are no pods, the returned pod is nil.
func best(pods []corev1.Pod) (best *corev1.Pod, why string) {
	ranked := rank(pods)
	switch len(ranked) {
	case 0:
		return nil, ""
	case 1:
		return &ranked[0], ""
	}
	_, why = compare(&ranked[0], &ranked[1])
	return &ranked[0], why
}

// compare returns the order of two pods, and the rule that decides.
func compare(a, b *corev1.Pod) (order int, why string) {
	for _, rule := range rules {
		if order := rule.compare(a, b); order != 0 {
			return order, rule.why
		}
	}
	return 0, ""
}

func trueFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}

// readySince returns when the pod became ready, or nil if it is not ready.
func readySince(pod *corev1.Pod) *time.Time {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return &condition.LastTransitionTime.Time
		}
	}
	return nil
}

// restarts returns the number of restarts of all containers together.
func restarts(pod *corev1.Pod) int32 {
	var sum int32
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, status := range statuses {
			sum += status.RestartCount
		}
	}
	return sum
}
