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
