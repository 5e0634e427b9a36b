//go:build unix && !linux

package sandbox

import (
	"os/exec"
	"strconv"
	"strings"
)

// living lists the live processes whose mark begins with the given one, as far as ps shows environments. It knows no sessions here.
func living(mark string, sessions []int) (pids, inUse []int) {
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

// lives says whether a process has not ended.
func lives(pid int) bool { return exists(pid) }

// busy is not known here.
func busy(int) bool { return false }

// arguments are what a process says of itself, taken apart at blanks; nil if it does not live.
func arguments(pid int) []string {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil
	}
	return strings.Fields(string(out))
}
