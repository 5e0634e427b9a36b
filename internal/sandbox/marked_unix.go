//go:build unix && !linux

package sandbox

import (
	"os/exec"
	"strconv"
	"strings"
)

// marked lists the live processes whose mark begins with the given one, as far as ps shows environments.
func marked(mark string) []int {
	out, err := exec.Command("ps", "-Aww", "-E", "-o", "pid=,command=").Output()
	if err != nil {
		return nil
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, " "+markVariable+"="+mark) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Fields(line)[0]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// living knows no sessions here.
func living(mark string, sessions []int) (pids, inUse []int) { return marked(mark), sessions }

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
