package node

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// margin allows for clocks that differ, and for slow starts.
const margin = 5 * time.Minute

// Leftover returns why a pod of kshell's can be deleted, such as "has ended",
// or "" if it may still be in use.
func Leftover(p *corev1.Pod, now time.Time) string {
	age := now.Sub(p.CreationTimestamp.Time)
	switch {
	case !IsNodeShell(p), p.DeletionTimestamp != nil:
		return ""
	case HasEnded(p):
		return "has ended"
	case p.CreationTimestamp.IsZero(): // its age is not known
		return ""
	case age > ttl(p)+margin:
		return fmt.Sprintf("should have ended after %v", ttl(p))
	case p.Status.Phase == corev1.PodPending && age > startLimit(p)+margin:
		return "has never started"
	}
	return ""
}

// HasEnded reports whether the pod has ended: nothing runs in it, and nothing will.
func HasEnded(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// Termination is how the pod's main process has ended.
type Termination struct {
	Code    int
	Reason  string // of the pod, if it has one (DeadlineExceeded, Evicted), else of the container (OOMKilled); empty if it just ended
	Deleted bool   // because its pod is
}

// TerminationOf returns how the shell ended. ok is false if it has not.
func TerminationOf(p *corev1.Pod) (Termination, bool) {
	for _, c := range p.Status.ContainerStatuses {
		if t := c.State.Terminated; c.Name == Container && t != nil {
			// The API removes a pod at once whose containers have ended, so that this one was being deleted before.
			end := Termination{Code: int(t.ExitCode), Deleted: p.DeletionTimestamp != nil, Reason: p.Status.Reason}
			if end.Reason == "" && t.Reason != "Completed" && t.Reason != "Error" {
				end.Reason = t.Reason
			}
			return end, true
		}
	}
	if HasEnded(p) { // evicted before it began, for example
		return Termination{Code: 255, Reason: p.Status.Reason}, true
	}
	return Termination{}, false
}

// IsWindows reports whether a node runs Windows.
func IsWindows(n *corev1.Node) bool {
	return n.Status.NodeInfo.OperatingSystem == string(corev1.Windows) || n.Labels[corev1.LabelOSStable] == string(corev1.Windows)
}

// NotReady returns why a node may not start pods, or "".
func NotReady(n *corev1.Node) string {
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady || c.Status == corev1.ConditionTrue {
			continue
		}
		words := "is not ready"
		if c.Reason != "" {
			words += " (" + c.Reason + ")"
		}
		if c.Message != "" {
			words += ": " + c.Message
		}
		return words
	}
	return ""
}
