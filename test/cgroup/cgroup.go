// Package cgroup limits the number of processes in tests.
package cgroup

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// New creates a cgroup (version 1 or 2) with the pids controller, and returns
// its directory. It skips the test if that is not possible. At the end of the
// test, it waits until the processes in the cgroup have ended, and removes it.
func New(t testing.TB) (dir string) {
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
	t.Cleanup(func() { await(t, dir, func() bool { return os.Remove(dir) == nil }) })
	if _, err := os.Stat(filepath.Join(dir, "pids.max")); err != nil {
		t.Skipf("the test needs a cgroup with the pids controller: %v", err)
	}
	return dir
}

// SetLimit sets the largest number of processes in the cgroup.
func SetLimit(t testing.TB, dir string, processes int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "pids.max"), []byte(strconv.Itoa(processes)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// WaitUntilEmpty waits until no process, not even a zombie, is in the cgroup.
func WaitUntilEmpty(t testing.TB, dir string) {
	t.Helper()
	await(t, dir, func() bool {
		current, err := os.ReadFile(filepath.Join(dir, "pids.current"))
		return err == nil && string(current) == "0\n"
	})
}

// await waits until empty returns true. After 30 s, the test fails and prints the
// processes in the cgroup dir.
func await(t testing.TB, dir string, empty func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !empty(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("processes are left in the cgroup:\n%s", processes(dir))
		}
	}
}

// processes describes the processes in the cgroup dir, one per line.
func processes(dir string) string {
	list, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	for _, id := range strings.Fields(string(list)) {
		proc := func(name string) string {
			content, _ := fs.ReadFile(os.DirFS("/proc"), id+"/"+name) // empty if the process has ended
			return strings.TrimSpace(strings.ReplaceAll(string(content), "\x00", " "))
		}
		fmt.Fprintf(&out, "%s %q wchan %s; stat: %s\n", id, proc("cmdline"), proc("wchan"), proc("stat"))
	}
	return out.String()
}
