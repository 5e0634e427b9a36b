package kinds

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// podStatus returns the status of a pod as kubectl get shows it. The rules are
// those of printPod in k8s.io/kubernetes/pkg/printers/internalversion.
func podStatus(p *corev1.Pod) string {
	status := cmp.Or(p.Status.Reason, string(p.Status.Phase), "Unknown")
	initStatus, initializing := initStatus(p)
	if initializing {
		status = initStatus
	} else {
		status = mainStatus(p, status)
	}
	switch {
	case p.DeletionTimestamp != nil && p.Status.Reason == "NodeLost":
		return "Unknown"
	case p.DeletionTimestamp != nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed:
		return "Terminating"
	}
	return status
}

// initStatus returns the status of a pod that is initializing: an init
// container has not ended successfully, or a sidecar has not started.
func initStatus(p *corev1.Pod) (status string, initializing bool) {
	if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodInitialized && c.Status == corev1.ConditionTrue
	}) {
		return "", false
	}
	for i, c := range p.Status.InitContainerStatuses {
		ended := c.State.Terminated
		switch waiting := c.State.Waiting; {
		case ended != nil && ended.ExitCode == 0, c.Started != nil && *c.Started && isSidecar(p, c.Name):
			continue
		case ended != nil:
			return "Init:" + endStatus(ended), true
		case waiting != nil && waiting.Reason != "" && waiting.Reason != "PodInitializing":
			return "Init:" + waiting.Reason, true
		}
		return fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers)), true
	}
	return "", false
}

// isSidecar reports whether the init container of this name keeps running while
// the other containers run.
func isSidecar(p *corev1.Pod, name string) bool {
	return slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == name && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	})
}

// mainStatus returns the status of a pod whose init containers have ended.
// status is the status without the states of its containers.
func mainStatus(p *corev1.Pod, status string) string {
	running := false
	for _, c := range slices.Backward(p.Status.ContainerStatuses) {
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			status = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			status = endStatus(c.State.Terminated)
		case c.State.Running != nil && c.Ready:
			running = true
		}
	}
	if status != "Completed" || !running {
		return status
	}
	if podReady(p) {
		return "Running"
	}
	return "NotReady"
}

// endStatus returns the reason why a container has ended.
func endStatus(s *corev1.ContainerStateTerminated) string {
	switch {
	case s.Reason != "":
		return s.Reason
	case s.Signal != 0:
		return fmt.Sprintf("Signal:%d", s.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", s.ExitCode)
}
