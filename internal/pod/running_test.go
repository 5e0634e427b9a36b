package pod

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
)

func containerStatus(name string, s corev1.ContainerState) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: s}
}

// withStatuses sets the statuses of the containers of manyContainers. For a nil
// list, the pod reports no statuses of that class.
func withStatuses(main, init, ephemeral []corev1.ContainerStatus) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Status.ContainerStatuses = main
		pod.Status.InitContainerStatuses = init
		pod.Status.EphemeralContainerStatuses = ephemeral
	}
}

func single(s corev1.ContainerState) []corev1.ContainerStatus {
	return []corev1.ContainerStatus{containerStatus("app", s)}
}

func withRestartPolicy(p corev1.RestartPolicy) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.RestartPolicy = p }
}

func withSandbox(ready corev1.ConditionStatus) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReadyToStartContainers, Status: ready}}
	}
}

func TestCheckRunning_EveryClass(t *testing.T) {
	all := withStatuses(single(runningState()),
		[]corev1.ContainerStatus{containerStatus("setup", runningState()), containerStatus("proxy", runningState())},
		[]corev1.ContainerStatus{containerStatus("debug", runningState())})
	for _, name := range []string{"app", "setup", "proxy", "debug"} {
		if err := checkRunning(manyContainers(all), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkRunning(manyContainers(all, phase(corev1.PodPending)), "setup"); err != nil {
		t.Errorf("running init container of a pending pod: %v", err)
	}
	if err := checkRunning(manyContainers(withStatuses(nil, nil, nil)), "debug"); err != nil {
		t.Errorf("running pod without container statuses: %v", err)
	}
}

func TestCheckRunning_NotRunning(t *testing.T) {
	crashed := containerStatus("app", waitingState("CrashLoopBackOff", "back-off 5m0s restarting failed container."))
	crashed.LastTerminationState = exited(137, "OOMKilled")
	unscheduled := func(pod *corev1.Pod) {
		pod.Spec.NodeName = ""
		pod.Status.Conditions = []corev1.PodCondition{{
			Type:    corev1.PodScheduled,
			Status:  corev1.ConditionFalse,
			Reason:  "Unschedulable",
			Message: "0/2 nodes are available.",
		}}
	}
	initialising := single(waitingState("PodInitializing", ""))
	setupRuns := []corev1.ContainerStatus{containerStatus("setup", runningState())}
	tests := []struct {
		name      string
		pod       *corev1.Pod
		container string
		text      string
		hint      string // part of the hint
		want      NotRunningError
	}{
		{
			"succeeded",
			runningPod("web", phase(corev1.PodSucceeded), withStatuses(single(exited(0, "Completed")), nil, nil)),
			"app",
			`pod "web" has completed; container "app" ended with exit code 0`, "kubectl logs web --all-containers -n shop",
			NotRunningError{Reason: "Succeeded", Permanent: true},
		},
		{
			"failed", manyContainers(phase(corev1.PodFailed), withStatuses([]corev1.ContainerStatus{
				containerStatus("app", exited(137, "OOMKilled")), containerStatus("log", exited(1, "Error")),
			}, nil, nil)), "log",
			`pod "web" has failed; container "app" ended with exit code 137 (OOMKilled), container "log" ended ` +
				`with exit code 1`,
			"kubectl logs",
			NotRunningError{Reason: "Failed", Permanent: true},
		},
		{
			"evicted, with container statuses", runningPod("web", phase(corev1.PodFailed), func(pod *corev1.Pod) {
				pod.Status.Reason, pod.Status.Message = "Evicted", "The node was low on memory."
			}), "app",
			`pod "web" has failed (Evicted): The node was low on memory`, "kubectl logs",
			NotRunningError{Reason: "Evicted", Message: "The node was low on memory.", Permanent: true},
		},
		{
			"unschedulable", runningPod("web", phase(corev1.PodPending), withStatuses(nil, nil, nil), unscheduled), "app",
			`pod "web" is not scheduled (Unschedulable): 0/2 nodes are available`, "kubectl describe pod web -n shop",
			NotRunningError{Reason: "Unschedulable", Message: "0/2 nodes are available."},
		},
		{
			"no scheduler",
			runningPod(
				"web",
				phase(corev1.PodPending),
				withStatuses(nil, nil, nil),
				func(pod *corev1.Pod) { pod.Spec.NodeName = "" },
			),
			"app",
			`pod "web" is not assigned to a node yet`, "kubectl describe",
			NotRunningError{Reason: "Pending"},
		},
		{
			"kubelet does not report", runningPod("web", phase(corev1.PodPending), withStatuses(nil, nil, nil)), "app",
			`pod "web" has not started yet on node "node-1"`, "kubectl describe",
			NotRunningError{Reason: "Pending"},
		},
		{
			"image",
			runningPod(
				"web",
				phase(corev1.PodPending),
				withStatuses(single(waitingState("ImagePullBackOff", "no such image")), nil, nil),
			),
			"app",
			`container "app" of pod "web" is waiting (ImagePullBackOff): no such image`, "kubectl describe pod web",
			NotRunningError{Container: "app", Reason: "ImagePullBackOff", Message: "no such image"},
		},
		{
			"crash loop", runningPod("web", withStatuses([]corev1.ContainerStatus{crashed}, nil, nil)), "app",
			`container "app" of pod "web" is waiting (CrashLoopBackOff): back-off 5m0s restarting failed ` +
				`container; its last run ended with exit code 137 (OOMKilled)`,
			"kubectl logs web -c app --previous -n shop",
			NotRunningError{
				Container: "app", Reason: "CrashLoopBackOff", Message: "back-off 5m0s restarting failed container.",
			},
		},
		{
			"no reason given", runningPod("web", withStatuses(single(corev1.ContainerState{}), nil, nil)), "app",
			`container "app" of pod "web" is waiting`, "kubectl describe",
			NotRunningError{Container: "app"},
		},
		{
			"init still running",
			manyContainers(
				phase(corev1.PodPending),
				withStatuses(initialising, setupRuns, nil),
			),
			"app",
			`container "app" of pod "web" is waiting for init container "setup" (1 of 2), which is running`,
			"kubectl logs web -c setup -n shop",
			NotRunningError{Container: "app", Reason: "PodInitializing"},
		},
		{
			"init without image",
			manyContainers(
				phase(corev1.PodPending),
				withStatuses(
					initialising,
					[]corev1.ContainerStatus{containerStatus("setup", waitingState("ErrImagePull", "gone"))},
					nil,
				),
			),
			"app",
			`container "app" of pod "web" is waiting for init container "setup" (1 of 2), which is waiting ` +
				`(ErrImagePull): gone`,
			"-c setup",
			NotRunningError{Container: "app", Reason: "ErrImagePull", Message: "gone"},
		},
		{
			"init failed",
			manyContainers(
				phase(corev1.PodPending),
				withStatuses(
					initialising, []corev1.ContainerStatus{containerStatus("setup", exited(3, "Error"))}, nil,
				),
			),
			"app",
			`container "app" of pod "web" is waiting for init container "setup" (1 of 2), which ended with exit ` +
				`code 3`,
			"-c setup",
			NotRunningError{Container: "app", Reason: "Error"},
		},
		{
			"sidecar not started", manyContainers(phase(corev1.PodPending), withStatuses(initialising, []corev1.ContainerStatus{
				containerStatus("setup", exited(0, "Completed")), containerStatus("proxy", runningState()),
			}, nil)), "app",
			`container "app" of pod "web" is waiting for init container "proxy" (2 of 2), which is running`, "-c proxy",
			NotRunningError{Container: "app", Reason: "PodInitializing"},
		},
		{
			"second init container",
			manyContainers(phase(corev1.PodPending), withStatuses(initialising, []corev1.ContainerStatus{
				{Name: "proxy", State: waitingState("PodInitializing", "")},
			}, nil)), "proxy",
			`sidecar container "proxy" of pod "web" is waiting for init container "setup" (1 of 2), which has ` +
				`not started`,
			"-c setup",
			NotRunningError{Container: "proxy", Reason: "PodInitializing"},
		},
		{
			"only init container",
			runningPod("web", phase(corev1.PodPending), withStatuses(initialising, setupRuns, nil), func(pod *corev1.Pod) {
				pod.Spec.InitContainers = []corev1.Container{{Name: "setup"}}
			}), "app",
			`container "app" of pod "web" is waiting for init container "setup", which is running`, "-c setup",
			NotRunningError{Container: "app", Reason: "PodInitializing"},
		},
		{
			"without sandbox",
			runningPod(
				"web",
				phase(corev1.PodPending),
				withStatuses(single(waitingState("ContainerCreating", "")), nil, nil),
				withSandbox(corev1.ConditionFalse),
			),
			"app",
			`container "app" of pod "web" is waiting (ContainerCreating): its volumes and its network are being ` +
				`set up`,
			"kubectl describe",
			NotRunningError{Container: "app", Reason: "ContainerCreating"},
		},
		{
			"with sandbox",
			runningPod(
				"web",
				phase(corev1.PodPending),
				withStatuses(single(waitingState("ContainerCreating", "")), nil, nil),
				withSandbox(corev1.ConditionTrue),
			),
			"app",
			`container "app" of pod "web" is waiting (ContainerCreating)`, "kubectl describe",
			NotRunningError{Container: "app", Reason: "ContainerCreating"},
		},
		{
			"never started, and being deleted",
			runningPod(
				"web",
				phase(corev1.PodPending),
				withStatuses(single(waitingState("ContainerCreating", "")), nil, nil),
				deleting,
			),
			"app",
			`container "app" of pod "web" is waiting (ContainerCreating); the pod is being deleted`, "kubectl describe",
			NotRunningError{Container: "app", Reason: "ContainerCreating", Permanent: true},
		},
		{
			"first init container",
			manyContainers(
				phase(corev1.PodPending),
				withStatuses(
					nil, []corev1.ContainerStatus{containerStatus("setup", waitingState("PodInitializing", ""))}, nil,
				),
			),
			"setup",
			`init container "setup" of pod "web" is waiting (PodInitializing)`, "kubectl describe",
			NotRunningError{Container: "setup", Reason: "PodInitializing"},
		},
		{
			"crash loop with a restarting sidecar",
			manyContainers(withStatuses(single(waitingState("CrashLoopBackOff", "")), []corev1.ContainerStatus{
				containerStatus("setup", exited(0, "Completed")), containerStatus("proxy", exited(1, "Error")),
			}, nil)), "app",
			`container "app" of pod "web" is waiting (CrashLoopBackOff)`, "kubectl describe",
			NotRunningError{Container: "app", Reason: "CrashLoopBackOff"},
		},
		{
			"init finished",
			manyContainers(
				withStatuses(
					single(runningState()),
					[]corev1.ContainerStatus{containerStatus("setup", exited(0, "Completed"))},
					nil,
				),
			),
			"setup",
			`init container "setup" of pod "web" has ended with exit code 0`, "kubectl logs web -c setup -n shop",
			NotRunningError{Container: "setup", Reason: "Completed", Permanent: true},
		},
		{
			"ephemeral ended",
			manyContainers(
				withStatuses(
					single(runningState()),
					nil,
					[]corev1.ContainerStatus{containerStatus("debug", exited(1, "Error"))},
				),
			),
			"debug",
			`ephemeral container "debug" of pod "web" has ended with exit code 1`, "-c debug",
			NotRunningError{Container: "debug", Reason: "Error", Permanent: true},
		},
		{
			"main ended, will be restarted",
			manyContainers(
				withStatuses(single(exited(1, "Error")), nil, nil), withRestartPolicy(corev1.RestartPolicyOnFailure),
			),
			"app",
			`container "app" of pod "web" has ended with exit code 1`, "-c app",
			NotRunningError{Container: "app", Reason: "Error"},
		},
		{
			"main ended without error",
			manyContainers(
				withStatuses(single(exited(0, "Completed")), nil, nil),
				withRestartPolicy(corev1.RestartPolicyOnFailure),
			),
			"app",
			`container "app" of pod "web" has ended with exit code 0`, "-c app",
			NotRunningError{Container: "app", Reason: "Completed", Permanent: true},
		},
		{
			"main ended, will not be restarted",
			manyContainers(
				withStatuses(single(exited(1, "Error")), nil, nil), withRestartPolicy(corev1.RestartPolicyNever),
			),
			"app",
			`container "app" of pod "web" has ended with exit code 1`, "-c app",
			NotRunningError{Container: "app", Reason: "Error", Permanent: true},
		},
		{
			"main ended with a message",
			runningPod("web", withStatuses(single(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: 128, Reason: "StartError", Message: "exec: no such file",
			}}), nil, nil)), "app",
			`container "app" of pod "web" has ended with exit code 128 (StartError): exec: no such file`, "-c app",
			NotRunningError{Container: "app", Reason: "StartError", Message: "exec: no such file"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := checkRunning(test.pod, test.container)
			var got *NotRunningError
			if !errors.As(err, &got) {
				t.Fatalf("got %v, want a *NotRunningError", err)
			}
			if got.Error() != test.text {
				t.Errorf("got  %s\nwant %s", got, test.text)
			}
			if !strings.Contains(got.Hint(), test.hint) {
				t.Errorf("hint %q, want %q in it", got.Hint(), test.hint)
			}
			test.want.Namespace, test.want.Pod = "shop", "web"
			if diff := cmp.Diff(&test.want, got, cmpopts.IgnoreUnexported(NotRunningError{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
