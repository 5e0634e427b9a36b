//go:build unix

package sandbox_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/sandbox"
)

func TestSetPrivateRoot(t *testing.T) {
	s := start(t, sandbox.Config{Empty: true})
	s.SetPrivateRoot("node1", true)
	follow := corev1.MountPropagationHostToContainer
	for name, test := range map[string]struct {
		node        string
		propagation *corev1.MountPropagationMode
		refused     bool
	}{
		"private":                     {"node1", &follow, true},
		"private-without-propagation": {"node1", nil, false},
		"shared":                      {"node2", &follow, false},
	} {
		p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: test.node}}
		p.Name = name
		p.Spec.Volumes = []corev1.Volume{
			{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}},
		}
		p.Spec.Containers = []corev1.Container{{
			Name:         "main",
			VolumeMounts: []corev1.VolumeMount{{Name: "host", MountPath: "/host", MountPropagation: test.propagation}},
		}}
		if err := s.AddPod(p); err != nil {
			t.Fatal(err)
		}
		var got corev1.Pod
		if code := callAPI(t, s, http.MethodGet, "/api/v1/namespaces/default/pods/"+name, nil, &got); code != http.StatusOK {
			t.Fatalf("%s: %d", name, code)
		}
		waiting := got.Status.ContainerStatuses[0].State.Waiting
		refused := got.Status.Phase == corev1.PodPending && waiting != nil && waiting.Reason == "CreateContainerError" &&
			strings.HasSuffix(waiting.Message, `path "/" is mounted on "/" but it is not a shared or slave mount`)
		if refused != test.refused || !refused && got.Status.Phase != corev1.PodRunning {
			t.Errorf("pod %s: %s, %+v", name, got.Status.Phase, waiting)
		}
	}
}

func TestFault_WithholdsAnswer(t *testing.T) {
	s := start(t, sandbox.Config{Empty: true})
	seen := 0
	s.Inject(sandbox.Fault{Path: "/pods", Method: http.MethodPost, Withhold: true, Seen: func() { seen++ }})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const body = `{"metadata":{"name":"made"},"spec":{"containers":[{"name":"main"}]}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL()+"/api/v1/namespaces/default/pods",
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		resp, err := httpClient(t, s, "sandbox").Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		answered <- err
	}()
	late, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if err := s.WaitStats(late, func(st sandbox.Stats) bool { return st.Creates == 1 }); err != nil {
		t.Fatalf("the pod is not created: %v", err)
	}
	code := callAPI(t, s, http.MethodGet, "/api/v1/namespaces/default/pods/made", nil, &corev1.Pod{})
	if code != http.StatusOK {
		t.Errorf("the fault applies to another method: %d", code)
	}
	select {
	case err := <-answered:
		t.Errorf("answered: %v", err)
	default:
	}
	cancel()
	if err := <-answered; err == nil || seen != 1 {
		t.Errorf("answered: %v; seen %d times", err, seen)
	}
}
