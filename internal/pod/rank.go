package pod

import (
	"cmp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// rules is the order of preference: the first that tells two pods apart
// decides. A negative result prefers a.
var rules = []struct {
	why     string
	compare func(a, b *corev1.Pod) int
}{
	{"not being deleted", func(a, b *corev1.Pod) int { return trueFirst(a.DeletionTimestamp == nil, b.DeletionTimestamp == nil) }},
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

// Rank gives the pods sorted by preference, best first: those not being deleted,
// running, ready, ready longest, with the fewest restarts (of all their
// containers together), newest, by name. pods is left as it is.
func rank(pods []corev1.Pod) []corev1.Pod {
	ranked := slices.Clone(pods)
	slices.SortStableFunc(ranked, func(a, b corev1.Pod) int {
		order, _ := compare(&a, &b)
		return order
	})
	return ranked
}

// Best gives the first of Rank and the rule by which it beat the second, in
// words such as "ready longest"; no words for a single pod, nil for none.
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

// readySince is nil while the pod is not ready.
func readySince(pod *corev1.Pod) *time.Time {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return &condition.LastTransitionTime.Time
		}
	}
	return nil
}

func restarts(pod *corev1.Pod) int32 {
	var sum int32
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, status := range statuses {
			sum += status.RestartCount
		}
	}
	return sum
}
