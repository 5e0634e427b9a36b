package pod

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// describeChange compares two states of a pod, called before and after. It
// returns a sentence, without a final period, about what happened to the
// container. In the state before, the container ran. The state after is nil if
// the pod no longer exists. ended reports that the container's processes have
// ended. If ended is false and the sentence is not "", the pod is being
// deleted, which will end the processes, or its node is lost, which may have
// ended them. A session may then still work, but the caller can give up a
// session that is silent. The sentence is "" if nothing happened. If the state
// before already shows the deletion or the loss of the node, describeChange
// does not report it again.
//
// The first of these that applies is reported: the pod no longer exists, or
// another pod has its name; the pod was evicted; the container was killed
// because it used too much memory, has ended, or was restarted; the pod has
// ended; the pod is being deleted; its node is lost, see NodeLost.
func describeChange(before, after *corev1.Pod, container string) (sentence string, ended bool) {
	switch {
	case after == nil:
		return deletedText(before), true
	case before.UID != after.UID:
		return fmt.Sprintf("pod %q was deleted and replaced by another pod of the same name", after.Name), true
	case after.Status.Phase == corev1.PodFailed && evicted(after):
		return fmt.Sprintf("pod %q was evicted", after.Name) + reasonSuffix("", evictionMessage(after)), true
	}
	if sentence := describeContainerChange(before, after, container); sentence != "" {
		return sentence + deletingSuffix(after), true
	}
	switch phase := after.Status.Phase; {
	case phase == corev1.PodSucceeded || phase == corev1.PodFailed:
		return podEnded(after).text, true
	case after.DeletionTimestamp != nil && before.DeletionTimestamp == nil:
		return deletingText(after), false
	case NodeLost(after) && !NodeLost(before):
		const format = "the cluster has lost contact with node %q, which runs pod %q"
		return fmt.Sprintf(format, after.Spec.NodeName, after.Name), false
	}
	return "", false
}

func deletedText(pod *corev1.Pod) string { return fmt.Sprintf("pod %q was deleted", pod.Name) }

// disruption returns the reason, such as EvictionByEvictionAPI or
// PreemptionByScheduler, and the message of the condition DisruptionTarget.
// Both are "" if the pod does not have this condition.
func disruption(pod *corev1.Pod) (reason, message string) {
	if c := condition(pod, corev1.DisruptionTarget); c.Status == corev1.ConditionTrue {
		return c.Reason, c.Message
	}
	return "", ""
}

func evicted(pod *corev1.Pod) bool {
	reason, _ := disruption(pod)
	return pod.Status.Reason == "Evicted" || reason == corev1.PodReasonTerminationByKubelet
}

func evictionMessage(pod *corev1.Pod) string {
	if pod.Status.Message != "" {
		return pod.Status.Message
	}
	_, message := disruption(pod)
	return message
}

// deletingText describes a pod that is being deleted.
func deletingText(pod *corev1.Pod) string {
	verb := "deleted"
	reason, message := disruption(pod)
	if strings.HasPrefix(reason, "Eviction") {
		verb = "evicted"
	}
	text := fmt.Sprintf("pod %q is being %s", pod.Name, verb) + reasonSuffix(reason, message)
	if grace := pod.DeletionGracePeriodSeconds; grace != nil && *grace > 0 {
		text += fmt.Sprintf(" (grace period %d s)", *grace)
	}
	return text
}

// deletingSuffix returns the text to append to a sentence about a container:
// that its pod is being deleted, or "".
func deletingSuffix(pod *corev1.Pod) string {
	if pod.DeletionTimestamp == nil {
		return ""
	}
	return "; the pod is being deleted"
}

// describeContainerChange returns the sentence about a container that has ended
// or was restarted. It returns "" if the container still runs, or if one of the
// two states of the pod does not contain the status of the container.
func describeContainerChange(before, after *corev1.Pod, container string) string {
	was, known := statusOf(before, container)
	now, reported := statusOf(after, container)
	if !known || !reported {
		return ""
	}
	c, _ := findContainer(after, container)
	name := fmt.Sprintf("%s %q of pod %q ", c.class, container, after.Name)
	last := now.LastTerminationState.Terminated
	switch {
	case now.State.Terminated != nil:
		return name + terminatedText(now.State.Terminated)
	case now.RestartCount <= was.RestartCount && now.ContainerID == was.ContainerID && now.State.Waiting == nil:
		return ""
	case was.State.Running == nil: // it was not running before
		return ""
	case now.State.Waiting != nil && last == nil:
		return name + "is no longer running" + reasonSuffix(now.State.Waiting.Reason, now.State.Waiting.Message)
	case now.State.Waiting != nil:
		return name + terminatedText(last)
	case last == nil:
		return name + "was restarted"
	default:
		return name + terminatedText(last) + " and was restarted"
	}
}

// terminatedText describes how a container ended.
func terminatedText(state *corev1.ContainerStateTerminated) string {
	if state.Reason == "OOMKilled" {
		return fmt.Sprintf("was killed because it was out of memory (exit code %d)", state.ExitCode)
	}
	text := "ended with " + exitText(state)
	if state.Message != "" {
		text += reasonSuffix("", state.Message)
	}
	return text
}

// NodeLost reports whether the control plane has lost contact with the pod's
// node. The node controller then sets the pod's reason to NodeLost, or sets its
// condition Ready to Unknown, or to False with neither a reason nor a message.
// Source: MarkPodsNotReady in k8s.io/kubernetes.
func NodeLost(pod *corev1.Pod) bool {
	ready := condition(pod, corev1.PodReady)
	return pod.Status.Reason == "NodeLost" || ready.Status == corev1.ConditionUnknown ||
		ready.Status == corev1.ConditionFalse && ready.Reason == "" && ready.Message == ""
}
