package pod

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// NotRunningError is a container in which nothing can be run now, or a pod none
// of whose containers runs.
type NotRunningError struct {
	Namespace, Pod string
	Container      string // "" when the pod as a whole is the reason
	// Reason is the API's word where it has one ("CrashLoopBackOff",
	// "Unschedulable", "Evicted", "OOMKilled"), else the pod's phase.
	Reason string
	// Message is the API's sentence, raw, or "".
	Message string
	// Exits are the containers that have ended, of the pod or the one asked for.
	Exits []Exit
	// Final reports that waiting for this pod does not help. Its owner may
	// create another one.
	Permanent bool

	text, hint  string
	lasting     bool // the pod keeps running, but never with the container
	unexplained bool // the pod's events may give the reason, its status does not
}

// Exit is how a container ended.
type Exit struct {
	Container string
	Code      int32
	Reason    string // "Completed", "Error", "OOMKilled" and the like, or ""
}

// Error returns what does not run, and why.
func (e *NotRunningError) Error() string { return e.text }

// Hint says what to type to learn more.
func (e *NotRunningError) Hint() string { return e.hint }

// checkRunning gives a *NotRunningError unless the named container of the pod
// runs. It has to be one of the pod's. A container whose state a running pod
// does not report at all is let through: the server will say.
func checkRunning(pod *corev1.Pod, name string) error {
	e := stopped(pod, name)
	if e == nil {
		return nil
	}
	if pod.DeletionTimestamp != nil { // nothing is started in it any more
		e.text += "; the pod is being deleted"
		e.Permanent, e.lasting = true, false
	}
	return e
}

func stopped(pod *corev1.Pod, name string) *NotRunningError {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return completed(pod)
	}
	status, reported := statusOf(pod, name)
	switch {
	case status.State.Running != nil:
		return nil
	case status.State.Terminated != nil:
		return ended(pod, name, status.State.Terminated)
	case !reported && pod.Status.Phase == corev1.PodRunning:
		return nil
	case !reported:
		return pending(pod)
	default:
		return waiting(pod, name, status)
	}
}

func statusOf(pod *corev1.Pod, name string) (status corev1.ContainerStatus, reported bool) {
	for _, statuses := range [][]corev1.ContainerStatus{
		pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses,
	} {
		for _, status := range statuses {
			if status.Name == name {
				return status, true
			}
		}
	}
	return corev1.ContainerStatus{}, false
}

func completed(pod *corev1.Pod) *NotRunningError {
	e := about(pod, "")
	e.Reason, e.Message, e.Permanent = string(pod.Status.Phase), pod.Status.Message, true
	if pod.Status.Reason != "" {
		e.Reason = pod.Status.Reason
	}
	verb := "has completed"
	if pod.Status.Phase == corev1.PodFailed {
		verb = "has failed"
	}
	var exits []string
	for _, status := range pod.Status.ContainerStatuses {
		if ended := status.State.Terminated; ended != nil {
			exit := Exit{status.Name, ended.ExitCode, ended.Reason}
			e.Exits = append(e.Exits, exit)
			exits = append(exits, fmt.Sprintf("container %q ended with %s%s", exit.Container, exit.words(), because("", ended.Message)))
		}
	}
	e.text = fmt.Sprintf("pod %q %s", pod.Name, verb) + because(pod.Status.Reason, pod.Status.Message)
	if len(exits) > 0 {
		e.text += "; " + strings.Join(exits, ", ")
	}
	e.hint = fmt.Sprintf("nothing can run in it any more; its output: `kubectl logs %s --all-containers -n %s`", pod.Name, pod.Namespace)
	return e
}

func ended(pod *corev1.Pod, name string, state *corev1.ContainerStateTerminated) *NotRunningError {
	e := about(pod, name)
	exit := Exit{name, state.ExitCode, state.Reason}
	e.Reason, e.Message, e.Exits = state.Reason, state.Message, []Exit{exit}
	c, _ := find(pod, name)
	e.Permanent = c.class == ephemeralClass || c.class == initClass && state.ExitCode == 0 ||
		c.class == mainClass && !restarted(pod.Spec.RestartPolicy, state.ExitCode)
	e.lasting = e.Permanent && c.class != mainClass
	e.text = fmt.Sprintf("%s %q of pod %q has ended with %s", c.class, name, pod.Name, exit.words())
	if state.Message != "" {
		e.text += ": " + state.Message
	}
	e.hint = logs(pod, name, "")
	return e
}

func restarted(policy corev1.RestartPolicy, code int32) bool {
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	case corev1.RestartPolicyAlways:
	}
	return true // the API's default
}

// pending is a pod of which no container has a state yet.
func pending(pod *corev1.Pod) *NotRunningError {
	e := about(pod, "")
	e.Reason = string(pod.Status.Phase)
	e.hint = fmt.Sprintf("type `kubectl describe pod %s -n %s` to see its events", pod.Name, pod.Namespace)
	if c := condition(pod, corev1.PodScheduled); c.Status == corev1.ConditionFalse {
		e.Reason, e.Message = c.Reason, c.Message
		e.text = fmt.Sprintf("pod %q is not scheduled", pod.Name) + because(c.Reason, c.Message)
		return e
	}
	e.Message = pod.Status.Message
	if pod.Spec.NodeName == "" {
		e.text = fmt.Sprintf("pod %q has no node yet", pod.Name) + because(pod.Status.Reason, pod.Status.Message)
		return e
	}
	e.unexplained = e.Message == ""
	e.text = fmt.Sprintf("pod %q has not started yet on node %q", pod.Name, pod.Spec.NodeName) +
		because(pod.Status.Reason, pod.Status.Message)
	return e
}

// waiting describes a container that has not started: it may start later or, if
// the reason is permanent, never.
func waiting(pod *corev1.Pod, name string, status corev1.ContainerStatus) *NotRunningError {
	c, _ := find(pod, name)
	e := about(pod, name)
	var reason, message string
	if state := status.State.Waiting; state != nil {
		reason, message = state.Reason, state.Message
	}
	if first, place := blocker(pod, name); first != "" && (reason == "" || reason == "PodInitializing") {
		state, _ := statusOf(pod, first)
		how, reason, message := doing(state)
		e.Reason, e.Message = reason, message
		e.Permanent = state.State.Waiting != nil && permanent(reason, message)
		e.unexplained = message == "" && state.State.Running == nil && state.State.Terminated == nil
		e.text = fmt.Sprintf("%s %q of pod %q waits for init container %q%s, which %s", c.class, name, pod.Name, first, place, how)
		e.hint = logs(pod, first, "")
		return e
	}
	e.Reason, e.Message = reason, message
	does := "is waiting"
	if permanent(reason, message) {
		does, e.Permanent, e.lasting = "cannot start", true, c.class == ephemeralClass
	}
	e.text = fmt.Sprintf("%s %q of pod %q %s", c.class, name, pod.Name, does) + because(reason, message)
	e.unexplained = message == "" && (reason == "ContainerCreating" || reason == "PodInitializing")
	if message == "" && withoutSandbox(pod) {
		e.text += ": its volumes and its network are being made ready"
	}
	e.hint = fmt.Sprintf("type `kubectl describe pod %s -n %s` to see its events", pod.Name, pod.Namespace)
	if last := status.LastTerminationState.Terminated; last != nil {
		exit := Exit{name, last.ExitCode, last.Reason}
		e.Exits = []Exit{exit}
		e.text += "; it last ended with " + exit.words()
		e.hint = logs(pod, name, " --previous")
	}
	return e
}

// permanent reports whether a container that waits for this reason never
// starts, although the kubelet keeps trying: the cause is in the pod's spec,
// its image or the node's mounts.
//
// Other reasons may go away: an image may be pushed, or loaded onto the node
// (ErrImageNeverPull), a config map created (CreateContainerConfigError), a
// runtime recover (most cases of CreateContainerError and RunContainerError).
func permanent(reason, message string) bool {
	if reason == "InvalidImageName" { // Kubernetes 1.37, pkg/kubelet/images/types.go
		return true
	}
	for _, words := range permanentWords {
		if strings.Contains(message, words) {
			return true
		}
	}
	return refusesPropagation(message)
}

// permanentWords are parts of messages of the kubelet (pkg/kubelet/kuberuntime,
// security context) and of the CRI of containerd and Docker (no command).
var permanentWords = []string{
	"container has runAsNonRoot and image",
	"runAsUser breaks non-root policy",
	"no command specified", "No command specified", // neither in the pod nor in the image
}

// RefusesPropagation reports whether the container cannot start because a
// volume has a mountPropagation and its path on the node is on a private mount,
// such as the node's root on k3d, WSL2 and Alpine.
func (e *NotRunningError) RefusesPropagation() bool { return refusesPropagation(e.text) }

// refusesPropagation looks for the messages of containerd, CRI-O and Docker.
func refusesPropagation(message string) bool {
	return strings.Contains(message, "it is not a shared or slave mount") || strings.Contains(message, "it is not a shared mount")
}

// withoutSandbox reports whether the sandbox of the pod, which needs its
// volumes and network, is not ready yet.
func withoutSandbox(pod *corev1.Pod) bool {
	c := condition(pod, corev1.PodReadyToStartContainers)
	return c.Status == corev1.ConditionFalse && pod.Status.Phase == corev1.PodPending
}

// condition returns the zero value if the pod does not report the condition.
func condition(pod *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

// blocker returns the init container that has to make progress before name can
// start, or "", and its place among several.
func blocker(pod *corev1.Pod, name string) (first, place string) {
	for i, c := range pod.Spec.InitContainers {
		if c.Name == name {
			return "", ""
		}
		status, _ := statusOf(pod, c.Name)
		done := status.State.Terminated != nil && status.State.Terminated.ExitCode == 0
		if initClassOf(c) == sidecarClass {
			done = status.Started != nil && *status.Started
		}
		if done {
			continue
		}
		if of := len(pod.Spec.InitContainers); of > 1 {
			place = fmt.Sprintf(" (%d of %d)", i+1, of)
		}
		return c.Name, place
	}
	return "", ""
}

// doing returns the state of an init container that is not done.
func doing(status corev1.ContainerStatus) (how, reason, message string) {
	switch {
	case status.State.Running != nil:
		return "is running", "PodInitializing", ""
	case status.State.Terminated != nil:
		state := status.State.Terminated
		return "ended with " + Exit{Code: state.ExitCode, Reason: state.Reason}.words(), state.Reason, state.Message
	case status.State.Waiting != nil:
		state := status.State.Waiting
		return "is waiting" + because(state.Reason, state.Message), state.Reason, state.Message
	default:
		return "has not started", "PodInitializing", ""
	}
}

func about(pod *corev1.Pod, container string) *NotRunningError {
	return &NotRunningError{Namespace: pod.Namespace, Pod: pod.Name, Container: container}
}

func (e Exit) words() string {
	words := fmt.Sprintf("exit code %d", e.Code)
	if e.Reason != "" && e.Reason != "Completed" && e.Reason != "Error" {
		words += fmt.Sprintf(" (%s)", e.Reason)
	}
	return words
}

// because is " (reason): message" with what there is of the two.
func because(reason, message string) string {
	text := ""
	if reason != "" {
		text = fmt.Sprintf(" (%s)", reason)
	}
	if message != "" {
		text += ": " + strings.TrimSuffix(message, ".")
	}
	return text
}

func logs(pod *corev1.Pod, container, more string) string {
	return fmt.Sprintf("type `kubectl logs %s -c %s%s -n %s` to see its output", pod.Name, container, more, pod.Namespace)
}
