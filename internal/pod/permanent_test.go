package pod

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const privateMount = `failed to generate container "d3f1" spec: failed to generate spec: ` +
	`path "/" is mounted on "/" but it is not a shared or slave mount`

func TestCheckRunning_PermanentReasons(t *testing.T) {
	for _, test := range []struct {
		reason, message string
		final, refuses  bool
	}{
		{"InvalidImageName", `Failed to apply default image tag "a b": couldn't parse image name`, true, false},
		{"CreateContainerError", privateMount, true, true},
		{"CreateContainerError", `path "/" is mounted on "/" but it is not a shared mount`, true, true},
		{
			"RunContainerError",
			"Error response from daemon: path / is mounted on / but it is not a shared or slave mount",
			true,
			true,
		},
		{
			"CreateContainerConfigError",
			`container has runAsNonRoot and image will run as root (pod: "web_shop(1)", container: app)`,
			true,
			false,
		},
		{
			"CreateContainerConfigError",
			`container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root`,
			true,
			false,
		},
		{
			"CreateContainerConfigError",
			`container's runAsUser breaks non-root policy (pod: "web_shop(1)", container: app)`,
			true,
			false,
		},
		{
			"CreateContainerError",
			"failed to generate container spec: failed to generate spec: no command specified",
			true,
			false,
		},
		// Not permanent:
		{"CreateContainerConfigError", `secret "s" not found`, false, false},
		{"CreateContainerError", `failed to reserve container name "app_web_shop_0": name is reserved`, false, false},
		{"CreateContainerError", "context deadline exceeded", false, false},
		{"ErrImageNeverPull", `Container image "x" is not present with pull policy of Never`, false, false},
		{"ErrImagePull", "manifest unknown", false, false},
		{"ImagePullBackOff", `Back-off pulling image "x"`, false, false},
		{"ContainerCreating", "", false, false},
		{"CrashLoopBackOff", "back-off 10s restarting failed container", false, false},
	} {
		waiting := waitingState(test.reason, test.message)
		for container, pod := range map[string]*corev1.Pod{
			"app": manyContainers(
				phase(corev1.PodPending),
				withStatuses(
					single(waitingState("PodInitializing", "")),
					[]corev1.ContainerStatus{containerStatus("setup", waiting)},
					nil,
				),
			),
			"setup": manyContainers(
				phase(corev1.PodPending),
				withStatuses(nil, []corev1.ContainerStatus{containerStatus("setup", waiting)}, nil),
			),
			"debug": manyContainers(
				withStatuses(
					single(runningState()), nil, []corev1.ContainerStatus{containerStatus("debug", waiting)},
				),
			),
		} {
			var stopped *NotRunningError
			if err := checkRunning(pod, container); !errors.As(err, &stopped) {
				t.Errorf("%s: %v", container, err)
				continue
			}
			if stopped.Permanent != test.final || stopped.RefusesPropagation() != test.refuses {
				t.Errorf(
					"%s, %s: %s: final: %v, refuses propagation: %v",
					container,
					test.reason,
					test.message,
					stopped.Permanent,
					stopped.RefusesPropagation(),
				)
			}
		}
	}
}

// With Docker, a pod has failed if its only container cannot be started.
func TestCheckRunning_StartError(t *testing.T) {
	failed := exited(128, "ContainerCannotRun")
	failed.Terminated.Message = "path / is mounted on / but it is not a shared or slave mount"
	var stopped *NotRunningError
	err := checkRunning(runningPod("web", phase(corev1.PodFailed), withStatuses(single(failed), nil, nil)), "app")
	const text = `pod "web" has failed; container "app" ended with exit code 128 (ContainerCannotRun): ` +
		`path / is mounted on / but it is not a shared or slave mount`
	if !errors.As(err, &stopped) || err.Error() != text || !stopped.RefusesPropagation() {
		t.Errorf("got %v, want %s", err, text)
	}
}

func TestWait_PermanentReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", waitingFor("ContainerCreating", "")))
		time.AfterFunc(
			2*time.Second,
			func() { w.setPod(runningPod("web", waitingFor("CreateContainerError", privateMount))) },
		)
		got := wait(withTimeout(t, 60), t, w, "web", "")
		const text = `container "app" of pod "web" cannot start (CreateContainerError): ` + privateMount
		if got.err == nil || got.err.Error() != text || got.elapsed.Round(time.Second) != 2*time.Second {
			t.Errorf("ended after %v with %v, want 2 s and %s", got.elapsed, got.err, text)
		}
	})
}
