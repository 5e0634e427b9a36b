package sandbox

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// living lists the live processes whose mark begins with the given one and those that belong to one of the sessions, and which of the
// sessions have members. What a process did to its own environment does not matter, what it was started with counts.
func living(mark string, sessions []int) (pids, inUse []int) {
	for _, pid := range allPids() {
		dir := filepath.Join("/proc", strconv.Itoa(pid))
		session, state := 0, ""
		if len(sessions) > 0 {
			session, state = sessionOf(dir)
		}
		member := alive(state) && slices.Contains(sessions, session)
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
	want := []byte(markVariable + "=" + mark)
	for v := range bytes.SplitSeq(told(dir, "environ"), []byte{0}) {
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
	fields := statOf(dir)
	if len(fields) <= statSize {
		return 0, ""
	}
	session, err := strconv.Atoi(fields[statSession])
	if err != nil {
		return 0, ""
	}
	return session, fields[statState]
}

// Places in what statOf returns.
const (
	statState   = 0
	statSession = 3
	statSize    = 20 // of its memory; a thread of the kernel has none, nor has a process that is at its end
	statEnvEnd  = 48 // the address where its environment ends, which an exec sets last
)

// statOf reads the fields of a process's stat that follow its name; none if it is gone.
func statOf(dir string) []string {
	data, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return nil
	}
	return strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
}

// execs says whether a process is in the middle of an exec.
func execs(dir string) bool {
	fields := statOf(dir)
	return len(fields) > statEnvEnd && fields[statSize] != "0" && fields[statEnvEnd] == "0"
}

// alive reads a state: the dead and the zombies are not.
func alive(state string) bool { return state != "" && state != "Z" && state != "X" }

// lives says whether a process has not ended.
func lives(pid int) bool {
	_, state := sessionOf(filepath.Join("/proc", strconv.Itoa(pid)))
	return alive(state)
}

// arguments are what a process says of itself, nil if it does not live.
func arguments(pid int) []string {
	data := told(filepath.Join("/proc", strconv.Itoa(pid)), "cmdline")
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}

// execPatience is how long a process may be in the middle of an exec.
const execPatience = 2 * time.Second

// told reads what a process was started with: its environ or cmdline. In the middle of an exec both are empty for a moment, which is
// waited for: whoever takes such a process for one without a mark, or for a dead one, misses it.
func told(dir, file string) []byte {
	end := time.Now().Add(execPatience)
	for looks := 0; looks < 2; looks++ { // an exec may have been over just before it was looked for
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || len(data) > 0 {
			return data // of one that is gone, or another user's, none
		}
		if execs(dir) && time.Now().Before(end) {
			looks = -1
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}
