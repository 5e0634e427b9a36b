package pod

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/script"
)

// NotRunningError means that a container, or a pod as a whole, does not run.
type NotRunningError struct {
	Namespace, Pod string
	Container      string // "" if the pod as a whole does not run
	// Reason is the reason in the pod's status ("CrashLoopBackOff",
	// "Unschedulable", "Evicted", "OOMKilled") or, if it has none, the phase.
	Reason string
	// Message is the message in the pod's status, or "". It may contain control
	// characters.
	Message string
	// Permanent reports that waiting for this pod does not help. The pod's
	// owner may still create another pod.
	Permanent bool

	text, hint string
	offer      string // a hint that names another container of the pod that runs; or ""
	// podContinues reports that the pod keeps running although the container
	// does not start again.
	podContinues bool
	// eventsMayExplain reports that the pod's status has no message, and that
	// its events may have one.
	eventsMayExplain bool
}

// Error returns what does not run, and why.
func (e *NotRunningError) Error() string { return e.text }

// withoutMessage returns the text without the message of the pod's status or of
// an event.
func (e *NotRunningError) withoutMessage() string {
	return strings.Replace(e.text, reasonSuffix("", e.Message), "", 1)
}

// Hint tells the user what to type to learn more.
func (e *NotRunningError) Hint() string { return e.hint }

// ImageUnusable reports whether err means that a container does not run because
// of its image: the node cannot get the image, or the image lacks the program
// to start.
func ImageUnusable(err error) bool {
	var e *NotRunningError
	if !errors.As(err, &e) {
		return false
	}
	return strings.Contains(e.Reason, "Image") || strings.Contains(err.Error(), "executable file not found")
}

// checkRunning returns a *NotRunningError if the named container, which the pod
// must have, does not run. If a running pod does not report the state of the
// container, checkRunning returns nil, because exec or attach will show whether
// it runs.
func checkRunning(pod *corev1.Pod, name string) error {
	e := notRunning(pod, name)
	if e == nil {
		return nil
	}
	if pod.DeletionTimestamp != nil { // the kubelet starts no more containers in such a pod
		e.text += "; the pod is being deleted"
		e.Permanent, e.podContinues = true, false
	}
	return e
}

// notRunning returns why the container does not run, or nil.
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

// statusOf returns the status of the named container, if the pod reports it.
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

// podEnded describes a pod in the phase Succeeded or Failed.
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
			exits = append(exits, fmt.Sprintf("container %q ended with %s%s",
				status.Name, exitText(ended), reasonSuffix("", ended.Message)))
		}
	}
	e.text = fmt.Sprintf("pod %q %s", pod.Name, verb) + reasonSuffix(pod.Status.Reason, pod.Status.Message)
	if len(exits) > 0 {
		e.text += "; " + strings.Join(exits, ", ")
	}
	e.hint = fmt.Sprintf("no command can run in it; type `kubectl logs %s --all-containers -n %s` to see its output",
		script.Quote(pod.Name), script.Quote(pod.Namespace))
	return e
}

// containerEnded describes a container that has ended. The kubelet may start
// the container again.
func containerEnded(pod *corev1.Pod, name string, state *corev1.ContainerStateTerminated) *NotRunningError {
	e := newNotRunning(pod, name)
	e.Reason, e.Message = state.Reason, state.Message
	c, _ := findContainer(pod, name)
	e.Permanent = c.class == ephemeralClass || c.class == initClass && state.ExitCode == 0 ||
		c.class == mainClass && !willRestart(pod.Spec.RestartPolicy, state.ExitCode)
	e.podContinues = e.Permanent && c.class != mainClass
	e.text = fmt.Sprintf("%s %q of pod %q has ended with %s", c.class, name, pod.Name, exitText(state))
	if state.Message != "" {
		e.text += ": " + state.Message
	}
	e.hint = logsHint(pod, name, "")
	return e
}

// willRestart reports whether the kubelet restarts a main container that has
// ended with this exit code.
func willRestart(policy corev1.RestartPolicy, code int32) bool {
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	case corev1.RestartPolicyAlways:
	}
	return true // the default of the API
}

// containersNotCreated describes a pod whose status does not contain its
// containers yet.
func containersNotCreated(pod *corev1.Pod) *NotRunningError {
	e := newNotRunning(pod, "")
	e.Reason = string(pod.Status.Phase)
	e.hint = describePodHint(pod)
	if c := condition(pod, corev1.PodScheduled); c.Status == corev1.ConditionFalse {
		e.Reason, e.Message = c.Reason, c.Message
		e.text = fmt.Sprintf("pod %q is not scheduled", pod.Name) + reasonSuffix(c.Reason, c.Message)
		return e
	}
	e.Message = pod.Status.Message
	if pod.Spec.NodeName == "" {
		e.text = fmt.Sprintf("pod %q is not assigned to a node yet", pod.Name) +
			reasonSuffix(pod.Status.Reason, pod.Status.Message)
		return e
	}
	e.eventsMayExplain = e.Message == ""
	e.text = fmt.Sprintf("pod %q has not started yet on node %q", pod.Name, pod.Spec.NodeName) +
		reasonSuffix(pod.Status.Reason, pod.Status.Message)
	return e
}

// containerWaiting describes a container that waits to be started. If the
// reason is permanent, the container never starts.
func containerWaiting(pod *corev1.Pod, name string, status corev1.ContainerStatus) *NotRunningError {
	c, _ := findContainer(pod, name)
	e := newNotRunning(pod, name)
	var reason, message string
	if state := status.State.Waiting; state != nil {
		reason, message = state.Reason, state.Message
	}
	if first, position := blockingInit(pod, name); first != "" && (reason == "" || reason == "PodInitializing") {
		state, _ := statusOf(pod, first)
		doing, reason, message := initState(state)
		e.Reason, e.Message = reason, message
		e.Permanent = state.State.Waiting != nil && permanent(reason, message)
		e.eventsMayExplain = message == "" && state.State.Running == nil && state.State.Terminated == nil
		e.text = fmt.Sprintf("%s %q of pod %q is waiting for init container %q%s, which %s",
			c.class, name, pod.Name, first, position, doing)
		e.hint = logsHint(pod, first, "")
		if state.State.Running != nil {
			e.offer = fmt.Sprintf("-c %s selects the init container, which is running", script.Quote(first))
			e.hint = e.offer + "; " + e.hint
		}
		return e
	}
	e.Reason, e.Message = reason, message
	state := "is waiting"
	if permanent(reason, message) {
		state, e.Permanent, e.podContinues = "cannot start", true, c.class == ephemeralClass
	}
	e.text = fmt.Sprintf("%s %q of pod %q %s", c.class, name, pod.Name, state) + reasonSuffix(reason, message)
	e.eventsMayExplain = message == "" && (reason == "ContainerCreating" || reason == "PodInitializing")
	if message == "" && sandboxNotReady(pod) {
		e.text += ": its volumes and its network are being set up"
	}
	e.hint = describePodHint(pod)
	if last := status.LastTerminationState.Terminated; last != nil {
		e.text += "; its last run ended with " + exitText(last)
		e.hint = logsHint(pod, name, " --previous")
	}
	return e
}

// permanent reports whether a container never starts if it waits with this
// reason and message. The kubelet keeps trying to start the container, but
// every attempt fails, because the cause is in the pod's spec, its image or the
// node's mounts.
//
// Other causes can go away: an image can be pushed or loaded onto the node
// (ErrImageNeverPull), a config map can be created
// (CreateContainerConfigError), and a runtime can recover (most cases of
// CreateContainerError and RunContainerError).
func permanent(reason, message string) bool {
	if reason == "InvalidImageName" { // Kubernetes 1.37, pkg/kubelet/images/types.go
		return true
	}
	for _, part := range permanentMessages {
		if strings.Contains(message, part) {
			return true
		}
	}
	return refusesPropagation(message)
}

// permanentMessages lists parts of messages. Those about users come from the
// kubelet (pkg/kubelet/kuberuntime), those about a missing command from the
// container runtimes containerd and Docker.
var permanentMessages = []string{
	"container has runAsNonRoot and image",
	"runAsUser breaks non-root policy",
	"no command specified", "No command specified", // neither the pod nor the image specifies one
}

// RefusesPropagation reports whether the container cannot start because a
// volume has a mountPropagation, but the volume's path on the node is on a
// private mount. The node's root is a private mount on k3d, WSL2 and Alpine.
func (e *NotRunningError) RefusesPropagation() bool { return refusesPropagation(e.text) }

// refusesPropagation recognizes the messages of containerd, CRI-O and Docker.
func refusesPropagation(message string) bool {
	return strings.Contains(message, "it is not a shared or slave mount") ||
		strings.Contains(message, "it is not a shared mount")
}

// sandboxNotReady reports whether the sandbox of the pod is not ready yet. The
// sandbox needs the volumes and the network of the pod.
func sandboxNotReady(pod *corev1.Pod) bool {
	c := condition(pod, corev1.PodReadyToStartContainers)
	return c.Status == corev1.ConditionFalse && pod.Status.Phase == corev1.PodPending
}

// condition returns a condition of the pod, or the zero value if the pod does
// not report it.
func condition(pod *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

// blockingInit returns the init container for which the container called name
// waits, or "". A container waits until each init container before it has
// succeeded or, if that init container is a sidecar, has started. position is "
// (1 of 2)", or "" if there is only one init container.
func blockingInit(pod *corev1.Pod, name string) (first, position string) {
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
			position = fmt.Sprintf(" (%d of %d)", i+1, of)
		}
		return c.Name, position
	}
	return "", ""
}

// initState returns the state of an init container that is not done: a
// predicate such as "is running", and the reason and message of the status.
func initState(status corev1.ContainerStatus) (doing, reason, message string) {
	switch {
	case status.State.Running != nil:
		return "is running", "PodInitializing", ""
	case status.State.Terminated != nil:
		state := status.State.Terminated
		return "ended with " + exitText(state), state.Reason, state.Message
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

// exitText returns "exit code 137 (OOMKilled)", without the reason if it adds
// nothing.
func exitText(state *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("exit code %d", state.ExitCode)
	if state.Reason != "" && state.Reason != "Completed" && state.Reason != "Error" {
		text += fmt.Sprintf(" (%s)", state.Reason)
	}
	return text
}

// reasonSuffix returns " (reason): message", without the parts that are empty.
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

func describePodHint(pod *corev1.Pod) string {
	return fmt.Sprintf("type `kubectl describe pod %s -n %s` to see its events",
		script.Quote(pod.Name), script.Quote(pod.Namespace))
}

func logsHint(pod *corev1.Pod, container, flags string) string {
	return fmt.Sprintf("type `kubectl logs %s -c %s%s -n %s` to see its output",
		script.Quote(pod.Name), script.Quote(container), flags, script.Quote(pod.Namespace))
}
