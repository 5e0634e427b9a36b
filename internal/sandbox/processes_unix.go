//go:build unix && !linux

package sandbox

import (
	"os/exec"
	"strconv"
	"strings"
)

// findProcesses returns the running processes whose markVariable begins with
// mark, as far as ps shows environments. It does not search the sessions, but
// returns all of them as inUse.
func findProcesses(mark string, sessions []int) (pids, inUse []int) {
	out, err := exec.Command("ps", "-Aww", "-E", "-o", "pid=,command=").Output()
	if err != nil {
		return nil, sessions
	}
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, " "+markVariable+"="+mark) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Fields(line)[0]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, sessions
}

// isAlive reports whether a process has not exited.
func isAlive(pid int) bool { return exists(pid) }

// isBusy is not implemented for this system.
func isBusy(int) bool { return false }

// commandLine returns the arguments of a process, split at spaces, or nil if it
// has exited.
func commandLine(pid int) []string {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil
	}
	return strings.Fields(string(out))
}
