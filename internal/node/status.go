package node

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// leftoverMargin is added to the time limits of a pod, because clocks differ
// and pods can start slowly.
const leftoverMargin = 5 * time.Minute

// Leftover returns why a kshell pod can be deleted, such as "has ended", or ""
// if it may still be in use. The result is also "" for pods that kshell did not
// create and for pods that are already being deleted.
func Leftover(p *corev1.Pod, now time.Time) string {
	age := now.Sub(p.CreationTimestamp.Time)
	switch {
	case !IsNodeShell(p), p.DeletionTimestamp != nil:
		return ""
	case HasEnded(p):
		return "has ended"
	case p.CreationTimestamp.IsZero(): // its age is not known
		return ""
	case age > ttl(p)+leftoverMargin:
		return fmt.Sprintf("should have ended after %v", ttl(p))
	case p.Status.Phase == corev1.PodPending && age > startTimeout(p)+leftoverMargin:
		return "has never started"
	}
	return ""
}

// HasEnded reports whether the pod's phase is final: nothing runs in it any
// more.
func HasEnded(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// Termination describes how the pod's main process ended.
type Termination struct {
	Code int
	// Reason is the pod's reason (DeadlineExceeded, Evicted) or else the
	// container's reason (OOMKilled). It is empty if the process exited
	// normally.
	Reason  string
	Deleted bool // the pod was being deleted when the process ended
}

// TerminationOf returns how the pod's main process ended. ok is false if the
// process has not ended.
func TerminationOf(p *corev1.Pod) (t Termination, ok bool) {
	for _, c := range p.Status.ContainerStatuses {
		if state := c.State.Terminated; c.Name == Container && state != nil {
			// If DeletionTimestamp is set, the deletion began before the
			// process ended, because deleting a pod whose containers have ended
			// removes it from the API at once.
			t := Termination{Code: int(state.ExitCode), Deleted: p.DeletionTimestamp != nil, Reason: p.Status.Reason}
			if t.Reason == "" && state.Reason != "Completed" && state.Reason != "Error" {
				t.Reason = state.Reason
			}
			return t, true
		}
	}
	if HasEnded(p) { // for example, evicted before the container started
		return Termination{Code: 255, Reason: p.Status.Reason}, true
	}
	return Termination{}, false
}

// IsWindows reports whether a node runs Windows.
func IsWindows(n *corev1.Node) bool {
	const windows = string(corev1.Windows)
	return n.Status.NodeInfo.OperatingSystem == windows || n.Labels[corev1.LabelOSStable] == windows
}

// NotReady returns why a node is not ready to start pods, such as "is not ready
// (KubeletNotReady): MESSAGE", or "" if it is ready.
func NotReady(n *corev1.Node) string {
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady || c.Status == corev1.ConditionTrue {
			continue
		}
		text := "is not ready"
		if c.Reason != "" {
			text += " (" + c.Reason + ")"
		}
		if c.Message != "" {
			text += ": " + c.Message
		}
		return text
	}
	return ""
}
