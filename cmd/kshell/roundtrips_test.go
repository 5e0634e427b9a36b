//go:build unix

package main

import (
	"os/exec"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/sandbox"
)

// The steps of TestRoundTrips: see sandbox.Steps. The round trip that opens a
// TCP connection is not counted. Each other step is one round trip, except for
// the output, which the server sends without another message from the client.
func TestRoundTrips(t *testing.T) {
	const (
		path = "/api/v1/namespaces/default/pods"
		pods = "GET " + path
		web  = pods + "/web"
		exec = web + "/exec"
		tls  = sandbox.StepTLS

		review     = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
		deployment = "GET /apis/apps/v1/namespaces/default/deployments/web"
	)
	for _, c := range []struct {
		name  string
		args  []string
		tty   bool
		steps [][]string
	}{
		{
			"container",
			[]string{"exec", "web", "-c", "web", "--", "echo", "first"},
			false,
			[][]string{{tls, tls}, {web, exec}, {sandbox.StepOutput}},
		},
		{
			"no container",
			[]string{"exec", "web", "--", "echo", "first"},
			false,
			[][]string{{tls, tls}, {web}, {exec}, {sandbox.StepOutput}},
		},
		{
			"terminal, container",
			[]string{"exec", "-it", "web", "-c", "web", "--", "echo", "first"},
			true,
			[][]string{{tls, tls}, {web, exec}, {sandbox.StepOutput}},
		},
		{
			"terminal, no container",
			[]string{"exec", "-it", "web", "--", "echo", "first"},
			true,
			[][]string{{tls, tls}, {web}, {exec}, {sandbox.StepOutput}},
		},
		{
			"stdin, container",
			[]string{"exec", "-i", "web", "-c", "web", "--", "echo", "first"},
			false,
			[][]string{{tls, tls}, {web, exec}, {sandbox.StepOutput}},
		},
		{
			"all",
			[]string{"exec", "-l", "app=web", "--all", "--", "echo", "first"},
			false,
			[][]string{{tls}, {pods}, {tls}, {exec}, {sandbox.StepOutput}},
		},
		{
			"workload",
			[]string{"exec", "deploy/web", "--", "echo", "first"},
			false,
			[][]string{{tls, tls}, {deployment}, {pods}, {exec}, {sandbox.StepOutput}},
		},
		{
			"node",
			[]string{"node-shell", "node1", "--", "echo", "first"},
			false,
			[][]string{
				{tls},
				// pods: the pods that earlier node shells left
				{"GET /api/v1/nodes/node1", pods, review, review, review, review, review, review},
				{"POST " + path},
				{tls, pods + "/*"},
			},
		},
		{"clusters", []string{"clusters", "--check", "--context", "sandbox"}, false, [][]string{{tls}, {"GET /version"}}},
		{"watch", []string{"watch", "pods", "--once"}, false, [][]string{{tls}, {pods}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			label := func(p *corev1.Pod) { p.Labels = map[string]string{"app": "web"} }
			if err := s.ChangePod("default", "web", label); err != nil {
				t.Fatal(err)
			}
			s.Put("deployments", &appsv1.Deployment{
				TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
				Spec:       appsv1.DeploymentSpec{Selector: metav1.SetAsLabelSelector(map[string]string{"app": "web"})},
			})
			expected := s.Expect("first", deadline, c.steps...)
			mustRun(t, s, c.tty, c.args...)
			if err := expected.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// mustRun runs kshell, which must succeed.
func mustRun(t *testing.T, s *sandbox.Server, tty bool, args ...string) {
	t.Helper()
	if tty {
		open(t, s, program(t), args...).mustEnd(0)
		return
	}
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	cmd.Env = environment(t, s)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
