//go:build unix

package main

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/node"
	"kshell/internal/sandbox"
)

// addDetachedShell adds the pod of a detached shell on node1, made by the
// given user from the given host, and returns its name.
func addDetachedShell(t *testing.T, s *sandbox.Server, by, from string, change ...func(*corev1.Pod)) string {
	t.Helper()
	p := node.Pod(node.Options{
		Node: "node1", Name: node.Name("node1"), Namespace: "default", Image: sandbox.NodeImage, Shell: true, Detached: true,
		TTL: ttlDefault, Stale: staleDefault, Waits: time.Minute, By: by, From: from, At: time.Now(),
	})
	for _, f := range change {
		f(p)
	}
	if err := s.AddPod(p); err != nil {
		t.Fatal(err)
	}
	return p.Name
}

func TestAttach_HostileAnnotations(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	name := addDetachedShell(t, s, "ann\x1b[31m", "", func(p *corev1.Pod) {
		for _, key := range []string{"kshell/heartbeat", "kshell/ttl", "kshell/starts-within"} {
			p.Annotations[key] = "0s"
		}
	})
	c := open(t, s, program(t), "node-shell", "--attach", name)
	c.prompt()
	c.run("echo up''to", "upto\r\n")
	c.keys("exit 4\r")
	c.mustEnd(4)
}
