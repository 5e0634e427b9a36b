//go:build unix

package main

import (
	"bytes"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/outcome"
	"kshell/internal/sandbox"
)

// A node whose root is a private mount (k3d, WSL2, Alpine) refuses pods with
// mountPropagation: the pod is created again without it.
func TestNodeShell_PrivateRoot(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.SetPrivateRoot("node2", true)
	const (
		unseen = "kshell: file systems that are mounted on node node2 from now on are not visible here: "
		again  = "kshell: node node2 refuses mount propagation because its root is a private mount: " +
			"the pod is created again without it\n"
	)
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"node's mount namespace":                 {[]string{"node2", "--", "hostname"}, ""},
		"node's mount namespace, verbose":        {[]string{"-v", "node2", "--", "hostname"}, again},
		"node's files, in the image":             {[]string{"--no-mount", "node2", "--", "echo", "node2"}, unseen},
		"several nodes, one of which refuses":    {[]string{"--all", "--", "hostname"}, ""},
		"several nodes that run in the image":    {[]string{"--all", "--no-mount", "--", "echo", "node2"}, unseen},
		"a node with a shared root, in an image": {[]string{"--no-mount", "node1", "--", "echo", "node2"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, s, append([]string{"node-shell", "--image", sandbox.NodeImage}, test.args...)...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil || !strings.Contains(stdout.String(), "node2") {
				t.Errorf("%v; stdout %q, stderr %q", err, stdout.String(), stderr.String())
			}
			said := strings.ReplaceAll(stderr.String(), "kshell: node2: ", "kshell: ")
			if test.says == "" && strings.Contains(said, "private mount") ||
				test.says != "" && strings.Count(said, test.says) != 1 {
				t.Errorf("stderr %q, want %q once", said, test.says)
			}
			if pods := nodePods(t, s); len(pods) != 0 {
				t.Errorf("pod %s is left", pods[0].Name)
			}
		})
	}
}

// kshell does not wait for a container that can never start.
func TestNodeShell_ContainerCannotStart(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.SetPrivateRoot("node1", true)
	cmd := command(t, s, "exec", "--pod-running-timeout", "5m", "private", "--", "true")
	follow := corev1.MountPropagationHostToContainer
	refused := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "node1"}}
	refused.Name = "private"
	host := corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}
	refused.Spec.Volumes = []corev1.Volume{{Name: "host", VolumeSource: host}}
	mount := corev1.VolumeMount{Name: "host", MountPath: "/host", MountPropagation: &follow}
	refused.Spec.Containers = []corev1.Container{{Name: "main", VolumeMounts: []corev1.VolumeMount{mount}}}
	if err := s.AddPod(refused); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	const want = `kshell: container "main" of pod "private" cannot start (CreateContainerError): `
	code := cmd.ProcessState.ExitCode()
	if err == nil || code != outcome.ExitFailed || !strings.Contains(string(out), want) {
		t.Errorf("exit code %d: %s", code, out)
	}
}
