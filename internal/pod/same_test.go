package pod

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestOnlyTheVerySameContainerIsTakenForTheLostOne(t *testing.T) {
	container := func(id string, restarts int32) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			pod.Status.ContainerStatuses[0].ContainerID = id
			pod.Status.ContainerStatuses[0].RestartCount = restarts
		}
	}
	silent := with(nil, nil, nil)
	init := func(id string) func(*corev1.Pod) {
		return with(nil, []corev1.ContainerStatus{{Name: "app", ContainerID: id}}, nil)
	}
	tests := []struct {
		name     string
		old, now *corev1.Pod
		want     bool
	}{
		{"untouched", running("web"), running("web"), true},
		{"other state of the pod", running("web"), running("web", unready, deleting), true},
		{"pod made anew under its name", running("web"), running("web", func(pod *corev1.Pod) { pod.UID = "new" }), false},
		{"container restarted", running("web"), running("web", container("containerd://2", 1)), false},
		{"restarted, ID not told yet", running("web"), running("web", container("containerd://1", 1)), false},
		{"other ID at the same count", running("web"), running("web", container("containerd://2", 0)), false},
		{"init container", running("web", init("1")), running("web", init("1")), true},
		{"init container, other ID", running("web", init("1")), running("web", init("2")), false},
		{"never told", running("web", silent), running("web", silent), true},
		{"told only later", running("web", silent), running("web", container("", 0)), false},
		{"gone", running("web"), nil, false},
		{"unknown before", nil, running("web"), false},
	}
	for _, test := range tests {
		if got := Same(test.old, test.now, "app"); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestNamesCannotLeaveTheirPlaceInAPath(t *testing.T) {
	tests := []struct{ namespace, pod, want string }{
		{"shop", "web-0", "/api/v1/namespaces/shop/pods/web-0/exec"},
		{"a/b", "c?d#e%f", "/api/v1/namespaces/a%2Fb/pods/c%3Fd%23e%25f/exec"},
		{"..", ".", "/api/v1/namespaces/%2E%2E/pods/%2E/exec"},
	}
	for _, test := range tests {
		if got := ExecPath(test.namespace, test.pod); got != test.want {
			t.Errorf("ExecPath(%q, %q) = %s, want %s", test.namespace, test.pod, got, test.want)
		}
	}
	if got, want := AttachPath("shop", "web"), "/api/v1/namespaces/shop/pods/web/attach"; got != want {
		t.Errorf("AttachPath: got %s, want %s", got, want)
	}
}
