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

	text, hint       string
	podContinues     bool // the pod keeps running, but never with the container
	eventsMayExplain bool // the pod's events may give the reason, its status does not
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
	e := notRunning(pod, name)
	if e == nil {
		return nil
	}
	if pod.DeletionTimestamp != nil { // nothing is started in it any more
		e.text += "; the pod is being deleted"
		e.Permanent, e.podContinues = true, false
	}
	return e
}

func notRunning(pod *corev1.Pod, name string) *NotRunningError {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return podEnded(pod)
	}
	status, reported := statusOf(pod, name)
	switch {
	case status.State.Running != nil:
		return nil
	case status.State.Terminated != nil:
		return containerEnded(pod, name, status.State.Terminated)
	case !reported && pod.Status.Phase == corev1.PodRunning:
		return nil
	case !reported:
		return containersNotCreated(pod)
	default:
		return containerWaiting(pod, name, status)
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

func podEnded(pod *corev1.Pod) *NotRunningError {
	e := newNotRunning(pod, "")
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
			exits = append(exits, fmt.Sprintf("container %q ended with %s%s", exit.Container, exit.text(), reasonSuffix("", ended.Message)))
		}
	}
	e.text = fmt.Sprintf("pod %q %s", pod.Name, verb) + reasonSuffix(pod.Status.Reason, pod.Status.Message)
	if len(exits) > 0 {
		e.text += "; " + strings.Join(exits, ", ")
	}
	e.hint = fmt.Sprintf("nothing can run in it any more; its output: `kubectl logs %s --all-containers -n %s`", pod.Name, pod.Namespace)
	return e
}

func containerEnded(pod *corev1.Pod, name string, state *corev1.ContainerStateTerminated) *NotRunningError {
	e := newNotRunning(pod, name)
	exit := Exit{name, state.ExitCode, state.Reason}
	e.Reason, e.Message, e.Exits = state.Reason, state.Message, []Exit{exit}
	c, _ := findContainer(pod, name)
	e.Permanent = c.class == ephemeralClass || c.class == initClass && state.ExitCode == 0 ||
		c.class == mainClass && !willRestart(pod.Spec.RestartPolicy, state.ExitCode)
	e.podContinues = e.Permanent && c.class != mainClass
	e.text = fmt.Sprintf("%s %q of pod %q has ended with %s", c.class, name, pod.Name, exit.text())
	if state.Message != "" {
		e.text += ": " + state.Message
	}
	e.hint = logsHint(pod, name, "")
	return e
}

func willRestart(policy corev1.RestartPolicy, code int32) bool {
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
func containersNotCreated(pod *corev1.Pod) *NotRunningError {
	e := newNotRunning(pod, "")
	e.Reason = string(pod.Status.Phase)
	e.hint = fmt.Sprintf("type `kubectl describe pod %s -n %s` to see its events", pod.Name, pod.Namespace)
	if c := condition(pod, corev1.PodScheduled); c.Status == corev1.ConditionFalse {
		e.Reason, e.Message = c.Reason, c.Message
		e.text = fmt.Sprintf("pod %q is not scheduled", pod.Name) + reasonSuffix(c.Reason, c.Message)
		return e
	}
	e.Message = pod.Status.Message
	if pod.Spec.NodeName == "" {
		e.text = fmt.Sprintf("pod %q has no node yet", pod.Name) + reasonSuffix(pod.Status.Reason, pod.Status.Message)
		return e
	}
	e.eventsMayExplain = e.Message == ""
	e.text = fmt.Sprintf("pod %q has not started yet on node %q", pod.Name, pod.Spec.NodeName) +
		reasonSuffix(pod.Status.Reason, pod.Status.Message)
	return e
}

// waiting describes a container that has not started: it may start later or, if
// the reason is permanent, never.
func containerWaiting(pod *corev1.Pod, name string, status corev1.ContainerStatus) *NotRunningError {
	c, _ := findContainer(pod, name)
	e := newNotRunning(pod, name)
	var reason, message string
	if state := status.State.Waiting; state != nil {
		reason, message = state.Reason, state.Message
	}
	if first, place := blockingInit(pod, name); first != "" && (reason == "" || reason == "PodInitializing") {
		state, _ := statusOf(pod, first)
		how, reason, message := initState(state)
		e.Reason, e.Message = reason, message
		e.Permanent = state.State.Waiting != nil && permanent(reason, message)
		e.eventsMayExplain = message == "" && state.State.Running == nil && state.State.Terminated == nil
		e.text = fmt.Sprintf("%s %q of pod %q waits for init container %q%s, which %s", c.class, name, pod.Name, first, place, how)
		e.hint = logsHint(pod, first, "")
		return e
	}
	e.Reason, e.Message = reason, message
	does := "is waiting"
	if permanent(reason, message) {
		does, e.Permanent, e.podContinues = "cannot start", true, c.class == ephemeralClass
	}
	e.text = fmt.Sprintf("%s %q of pod %q %s", c.class, name, pod.Name, does) + reasonSuffix(reason, message)
	e.eventsMayExplain = message == "" && (reason == "ContainerCreating" || reason == "PodInitializing")
	if message == "" && sandboxNotReady(pod) {
		e.text += ": its volumes and its network are being made ready"
	}
	e.hint = fmt.Sprintf("type `kubectl describe pod %s -n %s` to see its events", pod.Name, pod.Namespace)
	if last := status.LastTerminationState.Terminated; last != nil {
		exit := Exit{name, last.ExitCode, last.Reason}
		e.Exits = []Exit{exit}
		e.text += "; it last ended with " + exit.text()
		e.hint = logsHint(pod, name, " --previous")
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
func sandboxNotReady(pod *corev1.Pod) bool {
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
func blockingInit(pod *corev1.Pod, name string) (first, place string) {
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
func initState(status corev1.ContainerStatus) (how, reason, message string) {
	switch {
	case status.State.Running != nil:
		return "is running", "PodInitializing", ""
	case status.State.Terminated != nil:
		state := status.State.Terminated
		return "ended with " + Exit{Code: state.ExitCode, Reason: state.Reason}.text(), state.Reason, state.Message
	case status.State.Waiting != nil:
		state := status.State.Waiting
		return "is waiting" + reasonSuffix(state.Reason, state.Message), state.Reason, state.Message
	default:
		return "has not started", "PodInitializing", ""
	}
}

func newNotRunning(pod *corev1.Pod, container string) *NotRunningError {
	return &NotRunningError{Namespace: pod.Namespace, Pod: pod.Name, Container: container}
}

func (e Exit) text() string {
	words := fmt.Sprintf("exit code %d", e.Code)
	if e.Reason != "" && e.Reason != "Completed" && e.Reason != "Error" {
		words += fmt.Sprintf(" (%s)", e.Reason)
	}
	return words
}

// because is " (reason): message" with what there is of the two.
func reasonSuffix(reason, message string) string {
	text := ""
	if reason != "" {
		text = fmt.Sprintf(" (%s)", reason)
	}
	if message != "" {
		text += ": " + strings.TrimSuffix(message, ".")
	}
	return text
}

func logsHint(pod *corev1.Pod, container, more string) string {
	return fmt.Sprintf("type `kubectl logs %s -c %s%s -n %s` to see its output", pod.Name, container, more, pod.Namespace)
}
