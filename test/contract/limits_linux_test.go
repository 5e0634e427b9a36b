package contract

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/sandbox"
	"kshell/test/cgroup"
)

func TestAtProcessLimits(t *testing.T) {
	t.Parallel()
	dir := cgroup.New(t)
	s, err := sandbox.Start(sandbox.Config{Dir: t.TempDir(), Empty: true, Cgroup: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}}}
	pod.Name = "web"
	if err := s.AddPod(pod); err != nil {
		t.Fatal(err)
	}
	p := Program{Path: kshellBinary(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}
	limit := func(forks int) {
		cgroup.WaitUntilEmpty(t, dir)
		cgroup.SetLimit(t, dir, forks+1)
	}
	AtProcessLimits(t, p, "web", limit)
	limit(0) // a shell on a terminal must work if kshell's script cannot start a process
	w := p.Open(t, "exec", "--shell", "sh", "web")
	w.WaitFor(`[$#] $`)
	w.Type("echo $((40 + 2)); exit 5\r")
	w.WaitFor("(?m)^42")
	w.CheckExit(5)
}
