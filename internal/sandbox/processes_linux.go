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

// findProcesses returns the running processes whose markVariable begins with
// mark or that belong to one of the sessions. inUse are the sessions that have
// running members. A process that changed its environment is still found,
// because /proc contains its initial environment. A session agent of kshell
// (cmd/kshell-agent), which has its own environment and session, is found by the
// command that it runs.
func findProcesses(mark string, sessions []int) (pids, inUse []int) {
	for _, pid := range allPids() {
		dir := filepath.Join("/proc", strconv.Itoa(pid))
		session, state := 0, ""
		if len(sessions) > 0 {
			session, state = sessionOf(dir)
		}
		member := isLiveState(state) && slices.Contains(sessions, session)
		if member && !slices.Contains(inUse, session) {
			inUse = append(inUse, session)
		}
		if member || hasMark(dir, mark) {
			pids = append(pids, pid)
			if agent := agentOf(dir); agent != 0 && !slices.Contains(pids, agent) {
				pids = append(pids, agent)
			}
		}
	}
	return pids, inUse
}

// agentDir is the beginning of the names of the directories of session agents.
const agentDir = ".kshell-agent-"

// agentOf returns the process ID of the session agent that runs a process, or 0.
func agentOf(dir string) int {
	fields := statOf(dir)
	if len(fields) <= statSize {
		return 0
	}
	program, err := os.Readlink(filepath.Join("/proc", fields[statParent], "exe"))
	if err != nil || !strings.HasPrefix(filepath.Base(filepath.Dir(program)), agentDir) {
		return 0
	}
	pid, _ := strconv.Atoi(fields[statParent]) // 0 if it is not a number
	return pid
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
	for v := range bytes.SplitSeq(readProcFile(dir, "environ"), []byte{0}) {
		if bytes.HasPrefix(v, want) {
			return true
		}
	}
	return false
}

// isBusy reports whether a process of a session is running, runnable, or
// waiting for a disk.
func isBusy(session int) bool {
	for _, pid := range allPids() {
		in, state := sessionOf(filepath.Join("/proc", strconv.Itoa(pid)))
		if in == session && (state == "R" || state == "D") {
			return true
		}
	}
	return false
}

// sessionOf returns the session of a process, and its state as one letter. If
// the process has gone, the state is "".
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

// Indexes into the fields that statOf returns.
const (
	statState   = 0
	statParent  = 1 // the ID of the parent process
	statSession = 3
	statSize    = 20 // the size of the process's memory; 0 for kernel threads and for a process that is exiting
	statEnvEnd  = 48 // the address of the end of the environment; 0 during an exec, which sets it last
)

// statOf returns the fields that follow the name in the stat file of a process,
// or nil if the process has gone.
func statOf(dir string) []string {
	data, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return nil
	}
	return strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
}

// inExec reports whether a process is in the middle of an exec.
func inExec(dir string) bool {
	fields := statOf(dir)
	return len(fields) > statEnvEnd && fields[statSize] != "0" && fields[statEnvEnd] == "0"
}

// isLiveState returns false for "" (the process has gone), Z (zombie) and X
// (dead), and true for every other state.
func isLiveState(state string) bool { return state != "" && state != "Z" && state != "X" }

// isAlive reports whether a process has not exited.
func isAlive(pid int) bool {
	_, state := sessionOf(filepath.Join("/proc", strconv.Itoa(pid)))
	return isLiveState(state)
}

// commandLine returns the arguments of a process, or nil if it has exited.
func commandLine(pid int) []string {
	data := readProcFile(filepath.Join("/proc", strconv.Itoa(pid)), "cmdline")
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}

// execTimeout is how long an exec may take.
const execTimeout = 2 * time.Second

// readProcFile reads the environ or cmdline file of a process. Both are empty
// for a moment during an exec. readProcFile waits for the end of the exec,
// because otherwise the process would seem to have exited or to have no
// markVariable.
func readProcFile(dir, file string) []byte {
	end := time.Now().Add(execTimeout)
	for looks := 0; looks < 2; looks++ { // read twice, because the exec may have ended just before inExec was called
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || len(data) > 0 {
			return data // after an error, the process has gone or belongs to another user
		}
		if inExec(dir) && time.Now().Before(end) {
			looks = -1
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}
