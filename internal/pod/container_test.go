package pod

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// manyContainers returns a pod with containers of every class.
func manyContainers(change ...func(*corev1.Pod)) *corev1.Pod {
	return runningPod("web", append([]func(*corev1.Pod){func(pod *corev1.Pod) {
		always := corev1.ContainerRestartPolicyAlways
		pod.Spec.Containers = []corev1.Container{{Name: "app"}, {Name: "log"}}
		pod.Spec.InitContainers = []corev1.Container{{Name: "setup"}, {Name: "proxy", RestartPolicy: &always}}
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{
			{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}},
		}
	}}, change...)...)
}

func annotated(container string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Annotations = map[string]string{defaultAnnotation: container} }
}

func TestChooseContainer(t *testing.T) {
	several := `chose the first container, "app"; -c selects another: ` +
		`"log", "proxy" (sidecar container), "debug" (ephemeral container)`
	tests := []struct {
		name   string
		pod    *corev1.Pod
		wanted string
		want   string
		notes  []string
	}{
		{"one container", runningPod("web"), "", "app", nil},
		{"first of several", manyContainers(), "", "app", []string{several}},
		{"init containers are not listed", runningPod("web", func(pod *corev1.Pod) {
			pod.Spec.InitContainers = []corev1.Container{{Name: "setup"}}
		}), "", "app", nil},
		{"annotation", manyContainers(annotated("log")), "", "log", nil},
		{"annotation with a sidecar", manyContainers(annotated("proxy")), "", "proxy", nil},
		{"annotation of an unknown container", manyContainers(annotated("g\x1b[2Jone")), "", "app", []string{
			`pod "web" has no container "g\x1b[2Jone", the one in its annotation ` +
				`kubectl.kubernetes.io/default-container`,
			several,
		}},
		{"flag overrides annotation", manyContainers(annotated("log")), "app", "app", nil},
		{"init", manyContainers(), "setup", "setup", nil},
		{"sidecar", manyContainers(), "proxy", "proxy", nil},
		{"ephemeral", manyContainers(), "debug", "debug", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, notes, err := ChooseContainer(test.pod, test.wanted)
			if err != nil || got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
			if diff := cmp.Diff(test.notes, notes); diff != "" {
				t.Errorf("notes: -want +got:\n%s", diff)
			}
		})
	}
}

func TestUnknownContainerError_Hint(t *testing.T) {
	_, _, err := ChooseContainer(manyContainers(), "ap")
	var e *UnknownContainerError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *UnknownContainerError", err)
	}
	want := &UnknownContainerError{
		Namespace: "shop", Pod: "web", Container: "ap",
		Main: []string{"app", "log"}, Init: []string{"setup", "proxy"}, Ephemeral: []string{"debug"},
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, want := e.Error(), `pod "web" has no container "ap"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := e.Hint(),
		"did you mean -c app?\ntype -c with one of: app, log; init: setup, proxy; ephemeral: debug"; got != want {
		t.Errorf("hint: got %q, want %q", got, want)
	}
	if _, _, err := ChooseContainer(&corev1.Pod{}, ""); !errors.As(err, &e) ||
		!strings.Contains(e.Error(), "has no containers") ||
		e.Hint() == "" {
		t.Errorf("pod without containers: got %v", err)
	}
}
