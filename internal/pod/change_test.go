package pod

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// The following functions change a pod with a container named app.

func asEvicted(message string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Status.Phase, pod.Status.Reason, pod.Status.Message = corev1.PodFailed, "Evicted", message
	}
}

func deletingWithin(seconds int64) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		deleting(pod)
		pod.DeletionGracePeriodSeconds = &seconds
	}
}

func withDisruption(reason, message string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: message,
		})
	}
}

func ready(status corev1.ConditionStatus, reason string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status, Reason: reason}}
	}
}

func withVersion(v string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.ResourceVersion = v }
}

// inState sets the current state, the last state and the number of restarts of
// container app.
func inState(now, last corev1.ContainerState, restarts int32) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "app", ContainerID: "containerd://1", State: now, LastTerminationState: last, RestartCount: restarts,
		}}
		if restarts > 0 {
			pod.Status.ContainerStatuses[0].ContainerID = "containerd://2"
		}
	}
}

func TestDescribeChange(t *testing.T) {
	none := corev1.ContainerState{}
	failed := exited(1, "Error")
	failed.Terminated.Message = "no space."
	tests := []struct {
		name   string
		before *corev1.Pod // runningPod("web") if nil
		after  *corev1.Pod
		want   string
		ended  bool
	}{
		{"no change", nil, runningPod("web"), "", false},
		{"irrelevant change", nil, runningPod("web", ready(corev1.ConditionFalse, "ContainersNotReady")), "", false},
		{"deleted", nil, nil, `pod "web" was deleted`, true},
		{
			"deleted and created again",
			nil,
			runningPod("web", func(pod *corev1.Pod) { pod.UID = "new" }),
			`pod "web" was deleted and replaced by another pod of the same name`,
			true,
		},
		{
			"evicted by the kubelet",
			nil,
			runningPod("web", asEvicted("The node was low on resource: memory.")),
			`pod "web" was evicted: The node was low on resource: memory`,
			true,
		},
		{
			"evicted by the kubelet, its containers ended", nil,
			runningPod(
				"web",
				inState(exited(137, "Error"), none, 0),
				asEvicted("The node had condition: [DiskPressure]."),
			),
			`pod "web" was evicted: The node had condition: [DiskPressure]`, true,
		},
		{
			"terminated by the kubelet",
			nil,
			runningPod(
				"web", phase(corev1.PodFailed), withDisruption(corev1.PodReasonTerminationByKubelet, "Preempted"),
			),
			`pod "web" was evicted: Preempted`, true,
		},
		{
			"ran out of memory",
			nil,
			runningPod("web", inState(exited(137, "OOMKilled"), none, 0)),
			`container "app" of pod "web" was killed because it was out of memory (exit code 137)`,
			true,
		},
		{
			"ran out of memory and runs again", nil, runningPod("web", inState(runningState(), exited(137, "OOMKilled"), 1)),
			`container "app" of pod "web" was killed because it was out of memory (exit code 137) and was restarted`, true,
		},
		{
			"ended",
			nil,
			runningPod("web", inState(exited(3, "Error"), none, 0)),
			`container "app" of pod "web" ended with exit code 3`,
			true,
		},
		{
			"ended with a message",
			nil,
			runningPod("web", inState(failed, none, 0)),
			`container "app" of pod "web" ended with exit code 1: no space`,
			true,
		},
		{
			"restarted",
			nil,
			runningPod("web", inState(runningState(), exited(0, "Completed"), 1)),
			`container "app" of pod "web" ended with exit code 0 and was restarted`,
			true,
		},
		{
			"restarted, old state not reported",
			nil,
			runningPod("web", inState(runningState(), none, 1)),
			`container "app" of pod "web" was restarted`,
			true,
		},
		{
			"restart is delayed",
			nil,
			runningPod("web", inState(waitingState("CrashLoopBackOff", "back-off 10s"), exited(2, "Error"), 0)),
			`container "app" of pod "web" ended with exit code 2`, true,
		},
		{
			"waiting, old state not reported", nil, runningPod("web", inState(waitingState("ContainerCreating", ""), none, 0)),
			`container "app" of pod "web" is no longer running (ContainerCreating)`, true,
		},
		{
			"ended because its pod is deleted",
			nil,
			runningPod("web", deletingWithin(30), inState(exited(143, "Error"), none, 0)),
			`container "app" of pod "web" ended with exit code 143; the pod is being deleted`, true,
		},
		{"another container restarted", nil, runningPod("web", func(pod *corev1.Pod) {
			pod.Status.ContainerStatuses = append(
				pod.Status.ContainerStatuses,
				corev1.ContainerStatus{Name: "log", RestartCount: 4, State: runningState()},
			)
		}), "", false},
		{
			"container state not reported",
			runningPod("web", withStatuses(nil, nil, nil)),
			runningPod("web", inState(runningState(), none, 1)),
			"",
			false,
		},
		{
			"was not running before",
			runningPod("web", inState(waitingState("CrashLoopBackOff", ""), exited(1, ""), 1)),
			runningPod("web", inState(runningState(), exited(1, ""), 2)),
			"",
			false,
		},
		{
			"pod succeeded",
			nil,
			runningPod("web", phase(corev1.PodSucceeded), withStatuses(nil, nil, nil)),
			`pod "web" has completed`,
			true,
		},
		{
			"pod failed",
			nil,
			runningPod(
				"web",
				phase(corev1.PodFailed),
				func(pod *corev1.Pod) { pod.Status.Reason = "DeadlineExceeded" },
			),
			`pod "web" has failed (DeadlineExceeded)`,
			true,
		},
		{
			"is being deleted",
			nil,
			runningPod("web", deletingWithin(30)),
			`pod "web" is being deleted (grace period 30 s)`,
			false,
		},
		{
			"being deleted, no grace period",
			nil,
			runningPod("web", deletingWithin(0)),
			`pod "web" is being deleted`,
			false,
		},
		{
			"was being deleted already",
			runningPod("web", deletingWithin(30)),
			runningPod("web", deletingWithin(30)),
			"",
			false,
		},
		{
			"is being evicted",
			nil,
			runningPod("web", deletingWithin(5), withDisruption("EvictionByEvictionAPI", "Eviction API: evicting")),
			`pod "web" is being evicted (EvictionByEvictionAPI): Eviction API: evicting (grace period 5 s)`, false,
		},
		{
			"preempted",
			nil,
			runningPod(
				"web", deletingWithin(5), withDisruption("PreemptionByScheduler", "default-scheduler: preempting"),
			),
			`pod "web" is being deleted (PreemptionByScheduler): default-scheduler: preempting (grace period 5 s)`, false,
		},
		{
			"node lost",
			nil,
			runningPod("web", ready(corev1.ConditionFalse, "")),
			`the cluster has lost contact with node "node-1", which runs pod "web"`,
			false,
		},
		{
			"node lost, readiness unknown",
			nil,
			runningPod("web", ready(corev1.ConditionUnknown, "NodeStatusUnknown")),
			`the cluster has lost contact with node "node-1", which runs pod "web"`,
			false,
		},
		{
			"node lost, by name",
			nil,
			runningPod("web", func(pod *corev1.Pod) { pod.Status.Reason = "NodeLost" }),
			`the cluster has lost contact with node "node-1", which runs pod "web"`,
			false,
		},
		{
			"node was lost already",
			runningPod("web", ready(corev1.ConditionFalse, "")),
			runningPod("web", ready(corev1.ConditionFalse, "")),
			"",
			false,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := test.before
			if before == nil {
				before = runningPod("web")
			}
			got, ended := describeChange(before, test.after, "app")
			if got != test.want || ended != test.ended {
				t.Errorf("got  %s (ended %v)\nwant %s (ended %v)", got, ended, test.want, test.ended)
			}
		})
	}
}

func TestStatusTracker(t *testing.T) {
	ended := runningPod("web", deletingWithin(30), inState(exited(137, "Error"), corev1.ContainerState{}, 0))
	type step struct {
		pod     *corev1.Pod
		deleted bool
		want    string
		ended   bool
	}
	tests := map[string][]step{
		"deleted": {
			{runningPod("web"), false, "", false},
			{runningPod("web", deletingWithin(30)), false, `pod "web" is being deleted (grace period 30 s)`, false},
			{runningPod("web", deletingWithin(30), unready), false, "", false},
			{ended, false, `container "app" of pod "web" ended with exit code 137; the pod is being deleted`, true},
			{ended, true, "", true},
			{nil, true, "", true},
		},
		"deleted at once":             {{runningPod("web"), true, `pod "web" was deleted`, true}},
		"deleted between two watches": {{nil, true, `pod "web" was deleted`, true}},
		"deleted with its last state": {
			{ended, true, `container "app" of pod "web" ended with exit code 137; the pod is being deleted`, true},
		},
		"node lost, found, and lost again": {
			{
				runningPod("web", ready(corev1.ConditionFalse, "")),
				false,
				`the cluster has lost contact with node "node-1", which runs pod "web"`,
				false,
			},
			{runningPod("web"), false, "", false},
			{
				runningPod("web", ready(corev1.ConditionFalse, "")),
				false,
				`the cluster has lost contact with node "node-1", which runs pod "web"`,
				false,
			},
		},
		"older state than the one found": {
			{
				runningPod("web", withVersion("6"), inState(runningState(), corev1.ContainerState{}, 3)),
				false,
				"",
				false,
			},
			{
				runningPod("web", withVersion("8"), inState(runningState(), corev1.ContainerState{}, 3)),
				false,
				`container "app" of pod "web" was restarted`,
				true,
			},
		},
		"no pod and no deletion is a bookmark": {{nil, false, "", false}},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			v := newStatusTracker(&Found{Pod: runningPod("web", withVersion("7")), Container: "app"})
			for i, s := range steps {
				if got, ended := v.update(s.pod, s.deleted); got != s.want || ended != s.ended {
					t.Errorf("step %d: got %q, %v; want %q, %v", i, got, ended, s.want, s.ended)
				}
			}
		})
	}
}
