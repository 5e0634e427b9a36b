package sandbox

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// marked lists the live processes whose mark begins with the given one. What a process did to its own environment does
// not matter, what it was started with counts.
func marked(mark string) []int {
	pids, _ := living(mark, nil)
	return pids
}

// living lists the marked processes and those that belong to one of the sessions, and which of the sessions have members.
func living(mark string, sessions []int) (pids, inUse []int) {
	for _, pid := range allPids() {
		dir := filepath.Join("/proc", strconv.Itoa(pid))
		session, state := 0, ""
		if len(sessions) > 0 {
			session, state = sessionOf(dir)
		}
		member := state != "" && state != "Z" && state != "X" && slices.Contains(sessions, session)
		if member && !slices.Contains(inUse, session) {
			inUse = append(inUse, session)
		}
		if member || hasMark(dir, mark) {
			pids = append(pids, pid)
		}
	}
	return pids, inUse
}

func allPids() []int {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = proc.Close() }()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func hasMark(dir, mark string) bool {
	data, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil {
		return false // gone, or another user's
	}
	want := []byte(markVariable + "=" + mark)
	for v := range bytes.SplitSeq(data, []byte{0}) {
		if bytes.HasPrefix(v, want) {
			return true
		}
	}
	return false
}

// busy says whether any process of a session computes, or wants to.
func busy(session int) bool {
	for _, pid := range allPids() {
		if in, state := sessionOf(filepath.Join("/proc", strconv.Itoa(pid))); in == session && (state == "R" || state == "D") {
			return true
		}
	}
	return false
}

// sessionOf reads the session of a process, and its state in one letter; none if it is gone.
func sessionOf(dir string) (session int, state string) {
	data, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, ""
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:])) // state, parent, group, session
	if len(fields) < 4 {
		return 0, ""
	}
	if session, err = strconv.Atoi(fields[3]); err != nil {
		return 0, ""
	}
	return session, fields[0]
}

// arguments are what a process says of itself, nil if it does not live.
func arguments(pid int) []string {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil || len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}
