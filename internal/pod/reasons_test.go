package pod

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"unsafe"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"kshell/internal/apiclient"
)

// The events of a pod are requested only if its status does not give the
// reason why the container does not run.
func TestWait_EventsOnlyWithoutReason(t *testing.T) {
	const initializing, creating = "PodInitializing", "ContainerCreating"
	pending := func(change ...func(*corev1.Pod)) *corev1.Pod {
		return runningPod(
			"web",
			append([]func(*corev1.Pod){phase(corev1.PodPending), withStatuses(nil, nil, nil)}, change...)...)
	}
	// blocked returns a pod whose container app waits for its first init
	// container, setup.
	blocked := func(setup corev1.ContainerState) *corev1.Pod {
		return manyContainers(
			phase(corev1.PodPending),
			withStatuses(
				single(waitingState(initializing, "")),
				[]corev1.ContainerStatus{containerStatus("setup", setup)},
				nil,
			),
		)
	}
	withMessage := func(message string) func(*corev1.Pod) { return func(pod *corev1.Pod) { pod.Status.Message = message } }
	for name, test := range map[string]struct {
		pod    *corev1.Pod
		events bool
	}{
		"node reports nothing":   {pending(), true},
		"node reports a message": {pending(withMessage("Node is shutting down.")), false},
		"unschedulable":          {runningPod("web", unscheduled), false},
		"container is created":   {runningPod("web", waitingFor(creating, "")), true},
		"container is created, with a message": {
			runningPod("web", waitingFor(creating, "the volume is being attached")), false,
		},
		"first container, pod is initialized":  {runningPod("web", waitingFor(initializing, "")), true},
		"image":                                {runningPod("web", waitingFor("ErrImagePull", "")), false},
		"crash loop":                           {runningPod("web", waitingFor("CrashLoopBackOff", "")), false},
		"init container has not started":       {blocked(corev1.ContainerState{}), true},
		"init container is created":            {blocked(waitingState(initializing, "")), true},
		"init container waits, with a message": {blocked(waitingState("ErrImagePull", "manifest unknown")), false},
		"init container is running":            {blocked(runningState()), false},
		"init container has failed":            {blocked(exited(1, "Error")), false},
		"init container is unreported and no app": {
			manyContainers(phase(corev1.PodPending), withStatuses(nil, nil, nil)), true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFakeServer(test.pod)
				w.objects[core+"events"] = eventList(warningEvent(1, "FailedMount", "no such volume"))
				got := wait(withTimeout(t, 8), t, w, "web", "app")
				asked := w.received()["events"] > 0
				added := strings.Contains(strings.Join(got.reasons, "\n"), "; FailedMount: no such volume")
				if asked != test.events || added != test.events {
					t.Errorf(
						"events requested: %v, in the message: %v, want %v; reasons %q",
						asked,
						added,
						test.events,
						got.reasons,
					)
				}
			})
		})
	}
}

func TestWait_JobConditions(t *testing.T) {
	for _, test := range []struct {
		condition batchv1.JobConditionType
		status    corev1.ConditionStatus
		over      bool
	}{
		{batchv1.JobComplete, corev1.ConditionTrue, true},
		{batchv1.JobFailed, corev1.ConditionTrue, true},
		{batchv1.JobComplete, corev1.ConditionFalse, false},
		{batchv1.JobFailed, corev1.ConditionFalse, false},
		{batchv1.JobFailed, corev1.ConditionUnknown, false},
		{batchv1.JobSuspended, corev1.ConditionTrue, false}, // a suspended job can be resumed
		{batchv1.JobSuspended, corev1.ConditionFalse, false},
	} {
		t.Run(string(test.condition)+" "+string(test.status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFakeServer(runningPod("web-a", phase(corev1.PodFailed)))
				w.objects[batch+"jobs/web"] = batchv1.Job{
					TypeMeta: typeMeta("batch/v1", "Job"), ObjectMeta: named, Spec: batchv1.JobSpec{Selector: selector},
					Status: batchv1.JobStatus{
						Conditions: []batchv1.JobCondition{{Type: test.condition, Status: test.status}},
					},
				}
				got := wait(withTimeout(t, 20), t, w, "job/web", "")
				var gaveUp *WaitError
				var stopped *NotRunningError
				if over := !errors.As(got.err, &gaveUp); over != test.over || !errors.As(got.err, &stopped) {
					t.Errorf(
						"ended after %v with %v; want the wait to end at once: %v",
						got.elapsed,
						got.err,
						test.over,
					)
				}
			})
		})
	}
}

// A container that can never start in one pod may start in another pod of the
// workload, for example after a rollout. An ephemeral container exists only in
// one pod of the workload, so waiting for another pod does not help.
func TestWait_WorkloadContainerCannotStart(t *testing.T) {
	invalid := waitingState("InvalidImageName", "couldn't parse image name")
	for container, test := range map[string]struct {
		pod  *corev1.Pod
		ends bool
	}{
		"app": {
			manyContainers(
				withStatuses(
					[]corev1.ContainerStatus{containerStatus("app", invalid), containerStatus("log", runningState())},
					nil,
					nil,
				),
			),
			false,
		},
		"debug": {
			manyContainers(
				withStatuses(
					single(runningState()), nil, []corev1.ContainerStatus{containerStatus("debug", invalid)},
				),
			),
			true,
		},
	} {
		t.Run(container, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFakeServer(test.pod)
				w.deployment(1)
				got := wait(withTimeout(t, 20), t, w, "deploy/web", container)
				var gaveUp *WaitError
				var stopped *NotRunningError
				if ends := !errors.As(got.err, &gaveUp); ends != test.ends || !errors.As(got.err, &stopped) {
					t.Errorf(
						"ended after %v with %v; want the wait to end at once: %v",
						got.elapsed,
						got.err,
						test.ends,
					)
				}
			})
		})
	}
}

func TestUnknownContainerError_OneClass(t *testing.T) {
	_, _, err := ChooseContainer(runningPod("web"), "ap")
	var e *UnknownContainerError
	if !errors.As(err, &e) || e.Hint() != "did you mean -c app?\ntype -c with one of: app" {
		t.Errorf("got %v", err)
	}
	none := &UnknownContainerError{Pod: "web"}
	if got, want := none.Hint(), "name another pod"; got != want {
		t.Errorf("no containers: got the hint %q, want %q", got, want)
	}
}

// podSize must not return too little, because the memory limit of a list
// depends on it. Containers and statuses without fields take memory, too,
// although they are small in the response.
func TestSize_LowerBound(t *testing.T) {
	const n = 10
	pod, container, status := unsafe.Sizeof(
		corev1.Pod{},
	), unsafe.Sizeof(
		corev1.Container{},
	), unsafe.Sizeof(
		corev1.ContainerStatus{},
	)
	for name, test := range map[string]struct {
		fill  func(*corev1.Pod)
		bytes uintptr
	}{
		"nothing":         {func(*corev1.Pod) {}, 0},
		"containers":      {func(p *corev1.Pod) { p.Spec.Containers = make([]corev1.Container, n) }, n * container},
		"init containers": {func(p *corev1.Pod) { p.Spec.InitContainers = make([]corev1.Container, n) }, n * container},
		"ephemeral containers": {
			func(p *corev1.Pod) { p.Spec.EphemeralContainers = make([]corev1.EphemeralContainer, n) }, n * container,
		},
		"statuses": {
			func(p *corev1.Pod) { p.Status.ContainerStatuses = make([]corev1.ContainerStatus, n) }, n * status,
		},
		"init statuses": {
			func(p *corev1.Pod) { p.Status.InitContainerStatuses = make([]corev1.ContainerStatus, n) }, n * status,
		},
		"ephemeral statuses": {
			func(p *corev1.Pod) { p.Status.EphemeralContainerStatuses = make([]corev1.ContainerStatus, n) },
			n * status,
		},
		"text": {func(p *corev1.Pod) { p.Status.Message = strings.Repeat("x", 1<<20) }, 1 << 20},
	} {
		p := &corev1.Pod{}
		test.fill(p)
		if got, least := podSize(p), int(pod+test.bytes); got < least {
			t.Errorf("%s: %d bytes, want at least %d", name, got, least)
		}
	}
}

// Only a list has a hint: a selector makes a list smaller, but nothing makes a
// single pod smaller.
func TestRequestError_TooLarge(t *testing.T) {
	large := &apiclient.TooLargeError{What: "the server's answer", Limit: 16 << 20}
	for name, test := range map[string]struct {
		target Target
		hint   string
	}{
		"list": {Target{Kind: kindPod}, "name a pod, or select fewer pods with -l LABEL=VALUE"},
		"pod":  {Target{Kind: kindPod, Name: "web"}, ""},
	} {
		e := &RequestError{Verb: "get", Resource: "pods", Namespace: "shop", Target: test.target, Err: large}
		if got := e.Hint(); got != test.hint {
			t.Errorf("%s: got the hint %q, want %q", name, got, test.hint)
		}
	}
}

func TestImageUnusable(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&NotRunningError{Reason: "ImagePullBackOff"}, true},
		{fmt.Errorf("waited 5m: %w", &NotRunningError{Reason: "ErrImageNeverPull"}), true},
		{&NotRunningError{Reason: "StartError", text: `exec: "sh": executable file not found in $PATH`}, true},
		{&NotRunningError{Reason: "CrashLoopBackOff"}, false},
		{errors.New("ImagePullBackOff"), false},
		{nil, false},
	} {
		if got := ImageUnusable(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
