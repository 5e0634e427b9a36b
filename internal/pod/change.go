package pod

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Fate says in a sentence, without a final period, what has become of a running
// container between two looks at its pod: before, when it ran, and after, nil
// once the pod is gone. over says that what ran in it has ended. Without over
// the sentence is what is about to end it (the pod is being deleted) or may have
// (the node is lost): a session may yet be alive, but one that is silent can be
// given up. "" means that nothing has become of it. What was so before is not
// told.
//
// In this order: the pod is gone, or another has its name; it was evicted or has
// ended; the container was killed for its memory, has ended or was restarted; the
// pod is being deleted, with the time that it has; its node is lost. Lost is what
// the node controller shows of it: reason NodeLost, Ready Unknown, or Ready set to
// False without a reason (k8s.io/kubernetes, MarkPodsNotReady).
func describeChange(before, after *corev1.Pod, container string) (sentence string, over bool) {
	switch {
	case after == nil:
		return deletedText(before), true
	case before.UID != after.UID:
		return fmt.Sprintf("pod %q was deleted, and another was made under its name", after.Name), true
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
	case nodeLost(after) && !nodeLost(before):
		return fmt.Sprintf("the cluster has lost touch with node %q, where pod %q runs", after.Spec.NodeName, after.Name), false
	}
	return "", false
}

func deletedText(pod *corev1.Pod) string { return fmt.Sprintf("pod %q was deleted", pod.Name) }

// disruption is the reason why something other than its owner ends the pod, if
// the API says: EvictionByEvictionAPI, PreemptionByScheduler and the like.
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

// leaving is a pod that is being deleted.
func deletingText(pod *corev1.Pod) string {
	verb := "deleted"
	reason, message := disruption(pod)
	if strings.HasPrefix(reason, "Eviction") {
		verb = "evicted"
	}
	text := fmt.Sprintf("pod %q is being %s", pod.Name, verb) + reasonSuffix(reason, message)
	if grace := pod.DeletionGracePeriodSeconds; grace != nil && *grace > 0 {
		text += fmt.Sprintf("; it has %d s to end", *grace)
	}
	return text
}

// goingAway is added to what became of a container whose pod is being deleted.
func deletingSuffix(pod *corev1.Pod) string {
	if pod.DeletionTimestamp == nil {
		return ""
	}
	return "; the pod is being deleted"
}

// containerFate is "" for a container that still is the one of before.
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
	case was.State.Running == nil: // it did not run before either
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

// died says how a container ended.
func terminatedText(state *corev1.ContainerStateTerminated) string {
	if state.Reason == "OOMKilled" {
		return fmt.Sprintf("was killed because it was out of memory (exit code %d)", state.ExitCode)
	}
	text := "ended with " + Exit{Code: state.ExitCode, Reason: state.Reason}.text()
	if state.Message != "" {
		text += reasonSuffix("", state.Message)
	}
	return text
}

// NodeLost says whether the cluster has lost touch with the pod's node: see Fate.
func NodeLost(pod *corev1.Pod) bool { return nodeLost(pod) }

func nodeLost(pod *corev1.Pod) bool {
	ready := condition(pod, corev1.PodReady)
	return pod.Status.Reason == "NodeLost" || ready.Status == corev1.ConditionUnknown ||
		ready.Status == corev1.ConditionFalse && ready.Reason == "" && ready.Message == ""
}
