package terminal

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// parentsIgnore reports whether an ancestor of this process is in the same
// process group and ignores the signal s. A shell with job control is such an
// ancestor while it reads its startup file: it starts programs in its own
// process group, and ignores the signal that stops them.
func parentsIgnore(s unix.Signal) bool {
	group := unix.Getpgrp()
	for pid := unix.Getppid(); pid > 1; {
		parent, parentGroup, err := parentOf(pid)
		if err != nil || parentGroup != group {
			return false
		}
		if ignores(pid, s) {
			return true
		}
		pid = parent
	}
	return false
}

// parentOf returns the parent and the process group of a process.
func parentOf(pid int) (parent, group int, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The name of the program is in parentheses, and may contain any character.
	// The state, the parent and the group follow.
	var state string
	_, err = fmt.Sscan(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), &state, &parent, &group)
	return parent, group, err
}

// ignores reports whether a process ignores the signal s.
func ignores(pid int, s unix.Signal) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if mask, ok := strings.CutPrefix(line, "SigIgn:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && bits&(1<<(s-1)) != 0
		}
	}
	return false
}
