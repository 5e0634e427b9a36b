package suite

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kshell/test/contract"
)

// TestAtProcessLimits runs commands in a container whose process limit it sets
// in the container's cgroup on the node.
func TestAtProcessLimits(t *testing.T) {
	inCI(t)
	p := sleeper("")
	p.Spec.Containers[0].WorkingDir = "/tmp"
	p.Spec.Containers[0].Command = []string{"sh", "-c", "sleep infinity & wait"} // wait also reaps orphans
	pod := createReady(t, p)
	group := cgroupOf(t, pod)
	for _, s := range kshellSubjects() {
		t.Run(s.Name, func(t *testing.T) {
			contract.AtProcessLimits(t, s.Program, pod, func(forks int) {
				waitForOwnProcesses(t, group)
				limit := []byte(fmt.Sprint(ownProcesses + 1 + forks))
				if err := os.WriteFile(filepath.Join(group, "pids.max"), limit, 0o600); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// ownProcesses is the number of the container's own processes: sh and sleep.
const ownProcesses = 2

// waitForOwnProcesses waits until only the container's own processes are left
// in its cgroup.
func waitForOwnProcesses(t *testing.T, group string) {
	t.Helper()
	for late := time.Now().Add(waitTimeout); ; time.Sleep(20 * time.Millisecond) {
		current, err := os.ReadFile(filepath.Join(group, "pids.current"))
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := strconv.Atoi(strings.TrimSpace(string(current))); n == ownProcesses {
			return
		}
		if time.Now().After(late) {
			procs, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
			t.Fatalf("processes are left in the container: %q", procs)
		}
	}
}

// cgroupOf returns the cgroup with the process limit of a pod's only container.
// The nodes' container runtime uses cgroups of this machine.
func cgroupOf(t *testing.T, pod string) string {
	t.Helper()
	p := waitForPod(t, pod, "ready", isReady)
	_, id, _ := strings.Cut(p.Status.ContainerStatuses[0].ContainerID, "://")
	root := "/sys/fs/cgroup/pids"
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup"
	}
	found := ""
	_ = filepath.WalkDir(
		root,
		func(path string, d fs.DirEntry, err error) error { // on an error, go on: another cgroup was removed during the walk
			if err == nil && d.IsDir() && strings.Contains(d.Name(), id) {
				found = path
				return fs.SkipAll
			}
			return nil
		},
	)
	if found == "" || id == "" {
		t.Skipf("no cgroup of container %q under %s: the nodes do not run on this machine", id, root)
	}
	return found
}
