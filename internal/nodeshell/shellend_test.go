//go:build unix

package nodeshell

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/cleanup"
	"kshell/internal/kubeconfig"
	"kshell/internal/node"
	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/sandbox"
)

// newTestManager returns a sandbox and a Manager of its node shells.
func newTestManager(t *testing.T, o Options) (*sandbox.Server, *Manager) {
	t.Helper()
	s, err := sandbox.Start(sandbox.Config{Empty: true, Dir: t.TempDir(), Gentle: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	connection, err := (&kubeconfig.Flags{Kubeconfig: s.Kubeconfig()}).Load()
	if err != nil {
		t.Fatal(err)
	}
	env := remote.Env{
		Out: io.Discard, Err: io.Discard, Notice: notice.New(io.Discard),
		Cleanup: &cleanup.Registry{}, Server: &remote.ServerState{},
	}
	cluster, err := remote.NewCluster(env, connection.Config, false)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(env, cluster, o)
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

// Another client that is attached may delete the pod as soon as the shell has
// ended, before this client has requested the exit code.
func TestShellEnd_PodDeletedBeforeCheck(t *testing.T) {
	s, m := newTestManager(t, Options{})
	object := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: node.Container}}}}
	object.Name = "shell"
	if err := s.AddPod(object); err != nil {
		t.Fatal(err)
	}
	object, err := m.nodes.Get(t.Context(), "default", "shell")
	if err != nil {
		t.Fatal(err)
	}
	p := &Pod{manager: m, object: object, found: &pod.Found{Pod: object, Container: node.Container}}
	e := &shellEnd{pod: p, nodes: m.nodes, pods: m.cluster.Pods(), reported: make(chan node.Termination, 1)}
	before := s.Stats().Requests
	var watch sync.WaitGroup
	watch.Go(func() { e.watch(t.Context()) })
	for s.Stats().Requests < before+2 { // the pod was requested, and is watched
		time.Sleep(time.Millisecond)
	}
	err = s.ChangePod("default", "shell", func(p *corev1.Pod) {
		p.Status.ContainerStatuses[0].State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 7}
		p.Status.ContainerStatuses[0].State.Running = nil
	})
	if err := errors.Join(err, s.DeletePod("default", "shell", 0)); err != nil {
		t.Fatal(err)
	}
	watch.Wait()
	for !e.check(t.Context()) {
		time.Sleep(time.Millisecond)
	}
	if want := (node.Termination{Code: 7}); e.termination == nil || *e.termination != want {
		t.Errorf("%+v, want %+v", e.termination, want)
	}
}
