package pod

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func deleting(pod *corev1.Pod) { pod.DeletionTimestamp = pointer(at(9)) }

func phase(p corev1.PodPhase) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Status.Phase = p }
}

func unready(pod *corev1.Pod) { pod.Status.Conditions[0].Status = corev1.ConditionFalse }

func readyAt(minutes int) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Status.Conditions[0].LastTransitionTime = at(minutes) }
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
	return func(pod *corev1.Pod) { pod.CreationTimestamp = at(minutes) }
}

// In each row the better pod has the later name and is worse by every rule
// that comes after the one that has to decide.
func TestBestPodIsChosenByTheRulesInTheirOrder(t *testing.T) {
	tests := []struct {
		why           string
		better, worse *corev1.Pod
	}{
		{"not being deleted", running("z", phase(corev1.PodPending), unready, restartedTimes(9)), running("a", deleting)},
		{"running", running("z", unready, restartedTimes(9)), running("a", phase(corev1.PodPending))},
		{"ready", running("z", readyAt(9), restartedTimes(9)), running("a", unready, readyAt(1))},
		{"ready longest", running("z", readyAt(1), restartedTimes(9)), running("a", readyAt(2), createdAt(9))},
		{"fewest restarts", running("z", restartedTimes(1)), running("a", restartedTimes(2), createdAt(9))},
		{"fewest restarts", running("z", restartedTimes(1)), running("a", sidecarRestartedTimes(2), createdAt(9))},
		{"fewest restarts", running("z", unready, readyAt(9)), running("a", unready, readyAt(1), restartedTimes(2))},
		{"newest", running("z", createdAt(2)), running("a", createdAt(1))},
		{"first by name", running("a"), running("z")},
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

func TestChoiceDoesNotDependOnTheOrderOfTheAnswer(t *testing.T) {
	pods := []corev1.Pod{
		*running("b"), *running("a"), *running("c", readyAt(0)), *running("d", deleting), *running("e", unready),
		*running("f", phase(corev1.PodFailed)), *running("g", restartedTimes(3)), *running("h", createdAt(5)),
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
			t.Fatal("Rank changed the order of its argument")
		}
	}
}

func TestOneOrNoPodIsNoChoice(t *testing.T) {
	if got, why := best(nil); got != nil || why != "" {
		t.Errorf("none: got %v, %q", got, why)
	}
	if got, why := best([]corev1.Pod{*running("a")}); got.Name != "a" || why != "" {
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
