package pod

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func deleting(pod *corev1.Pod) { pod.DeletionTimestamp = pointer(atMinute(9)) }

func phase(p corev1.PodPhase) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Status.Phase = p }
}

func unready(pod *corev1.Pod) { pod.Status.Conditions[0].Status = corev1.ConditionFalse }

func readyAt(minutes int) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Status.Conditions[0].LastTransitionTime = atMinute(minutes) }
}

func restartedTimes(n int32) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Status.ContainerStatuses[0].RestartCount = n }
}

func sidecarRestartedTimes(n int32) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "side", RestartCount: n}}
	}
}

func createdAt(minutes int) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.CreationTimestamp = atMinute(minutes) }
}

// In each row, the rule in the field why must decide in favor of the pod in the
// field better, although later rules, such as "first by name", prefer the other
// pod.
func TestBest_Rules(t *testing.T) {
	tests := []struct {
		why           string
		better, worse *corev1.Pod
	}{
		{
			"not being deleted",
			runningPod("z", phase(corev1.PodPending), unready, restartedTimes(9)),
			runningPod("a", deleting),
		},
		{"running", runningPod("z", unready, restartedTimes(9)), runningPod("a", phase(corev1.PodPending))},
		{"ready", runningPod("z", readyAt(9), restartedTimes(9)), runningPod("a", unready, readyAt(1))},
		{"ready longest", runningPod("z", readyAt(1), restartedTimes(9)), runningPod("a", readyAt(2), createdAt(9))},
		{"fewest restarts", runningPod("z", restartedTimes(1)), runningPod("a", restartedTimes(2), createdAt(9))},
		{
			"fewest restarts",
			runningPod("z", restartedTimes(1)),
			runningPod("a", sidecarRestartedTimes(2), createdAt(9)),
		},
		{
			"fewest restarts",
			runningPod("z", unready, readyAt(9)),
			runningPod("a", unready, readyAt(1), restartedTimes(2)),
		},
		{"newest", runningPod("z", createdAt(2)), runningPod("a", createdAt(1))},
		{"first by name", runningPod("a"), runningPod("z")},
	}
	for _, test := range tests {
		for _, pods := range [][]corev1.Pod{{*test.better, *test.worse}, {*test.worse, *test.better}} {
			got, why := best(pods)
			if got.Name != test.better.Name || why != test.why {
				t.Errorf("%s: chose %q (%s), want %q", test.why, got.Name, why, test.better.Name)
			}
		}
	}
}

func TestBest_AnyInputOrder(t *testing.T) {
	pods := []corev1.Pod{
		*runningPod("b"),
		*runningPod("a"),
		*runningPod("c", readyAt(0)),
		*runningPod("d", deleting),
		*runningPod("e", unready),
		*runningPod("f", phase(corev1.PodFailed)), *runningPod("g", restartedTimes(3)), *runningPod("h", createdAt(5)),
	}
	want := []string{"c", "h", "a", "b", "g", "e", "f", "d"}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		random.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
		before := names(pods)
		if diff := cmp.Diff(want, names(rank(pods))); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
		if !slices.Equal(before, names(pods)) {
			t.Fatal("rank changed its argument")
		}
	}
}

func TestBest_OneOrNoPod(t *testing.T) {
	if got, why := best(nil); got != nil || why != "" {
		t.Errorf("none: got %v, %q", got, why)
	}
	if got, why := best([]corev1.Pod{*runningPod("a")}); got.Name != "a" || why != "" {
		t.Errorf("one: got %v, %q", got.Name, why)
	}
}

func names(pods []corev1.Pod) []string {
	var list []string
	for _, pod := range pods {
		list = append(list, pod.Name)
	}
	return list
}
