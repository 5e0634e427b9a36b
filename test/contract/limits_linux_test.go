package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/sandbox"
)

// pidsCgroup makes a cgroup (version 1 or 2) with the pids controller, which limits
// the number of processes. It skips the test where that is not possible.
func pidsCgroup(t *testing.T) string {
	t.Helper()
	root := "/sys/fs/cgroup/pids"
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup"
		_ = os.WriteFile(root+"/cgroup.subtree_control", []byte("+pids"), 0o600) // a failure is detected below
	}
	dir, err := os.MkdirTemp(root, "kshell-test-")
	if err != nil {
		t.Skipf("the test needs a cgroup that limits processes: %v", err)
	}
	t.Cleanup(func() {
		await(t, "processes are left in the cgroup", func() bool { return os.Remove(dir) == nil })
	})
	if _, err := os.Stat(filepath.Join(dir, "pids.max")); err != nil {
		t.Skipf("the test needs a cgroup with the pids controller: %v", err)
	}
	return dir
}

// await waits until holds returns true. After 30 s, the test fails with otherwise.
func await(t *testing.T, otherwise string, holds func() bool) {
	t.Helper()
	for late := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal(otherwise)
		}
	}
}

func TestAtProcessLimits(t *testing.T) {
	t.Parallel()
	dir := pidsCgroup(t)
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
	p := Program{Path: build(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}
	limit := func(forks int) {
		await(t, "processes are left in the cgroup", func() bool {
			current, err := os.ReadFile(filepath.Join(dir, "pids.current")) // includes zombies
			return err == nil && string(current) == "0\n"
		})
		if err := os.WriteFile(filepath.Join(dir, "pids.max"), []byte(fmt.Sprint(forks+1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	AtProcessLimits(t, p, "web", limit)
	limit(0) // a shell on a terminal: the script cannot start a process
	w := p.Open(t, "exec", "--shell", "sh", "web")
	w.Await(`[$#] $`)
	w.Type("echo $((40 + 2)); exit 5\r")
	w.Await("(?m)^42")
	w.MustEnd(5)
}
