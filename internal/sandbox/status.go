package sandbox

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func started(at metav1.Time) corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at}}
}

// thisSecond returns the current time in whole seconds, because the API has no
// higher precision.
func thisSecond() metav1.Time { return metav1.NewTime(time.Now().Truncate(time.Second)) }

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func terminated(code int) corev1.ContainerState {
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: int32(code), Reason: reason, FinishedAt: metav1.Now(),
	}}
}

func containerStatus(name, image string, state corev1.ContainerState) corev1.ContainerStatus {
	started := state.Running != nil
	return corev1.ContainerStatus{
		Name: name, Image: image, State: state, Ready: started, Started: &started,
		ContainerID: containerID(),
	}
}

func containerID() string { return "sandbox://" + randomName(32) }

// runningStatus returns the status of a pod whose containers all run since the
// creation of the pod, or since now if the pod has no creation time. The init
// containers have finished, except sidecars, which run.
func runningStatus(pod *corev1.Pod) corev1.PodStatus {
	since := pod.CreationTimestamp
	if since.IsZero() {
		since = thisSecond()
	}
	st := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &since, HostIP: "127.0.0.1", PodIP: "127.0.0.1"}
	for _, c := range pod.Spec.InitContainers {
		state := terminated(0)
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			state = started(since)
		}
		st.InitContainerStatuses = append(st.InitContainerStatuses, containerStatus(c.Name, c.Image, state))
	}
	for _, c := range pod.Spec.Containers {
		st.ContainerStatuses = append(st.ContainerStatuses, containerStatus(c.Name, c.Image, started(since)))
	}
	for _, c := range pod.Spec.EphemeralContainers {
		st.EphemeralContainerStatuses = append(
			st.EphemeralContainerStatuses,
			containerStatus(c.Name, c.Image, started(since)),
		)
	}
	for _, t := range []corev1.PodConditionType{
		corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady,
	} {
		st.Conditions = append(
			st.Conditions,
			corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: since},
		)
	}
	return st
}

// updateReadiness sets the phase and the conditions of the pod according to the
// states of its containers.
func updateReadiness(pod *corev1.Pod) {
	ready, ended, failed := true, true, false
	for _, c := range pod.Status.ContainerStatuses {
		ready = ready && c.Ready
		ended = ended && c.State.Terminated != nil
		failed = failed || c.State.Terminated != nil && c.State.Terminated.ExitCode != 0
	}
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type != corev1.PodReady && c.Type != corev1.ContainersReady {
			continue
		}
		want := corev1.ConditionFalse
		if ready {
			want = corev1.ConditionTrue
		}
		if c.Status != want {
			c.Status = want
			c.LastTransitionTime = metav1.Now()
		}
	}
	switch {
	case ended && failed:
		pod.Status.Phase = corev1.PodFailed
	case ended:
		pod.Status.Phase = corev1.PodSucceeded
	}
}

func setState(pod *corev1.Pod, name string, state corev1.ContainerState) {
	for i := range pod.Status.ContainerStatuses {
		if c := &pod.Status.ContainerStatuses[i]; c.Name == name {
			c.State = state
			c.Ready = state.Running != nil
		}
	}
}

func isRunning(list []corev1.ContainerStatus, name string) bool {
	for _, c := range list {
		if c.Name == name {
			return c.State.Running != nil
		}
	}
	return false
}
