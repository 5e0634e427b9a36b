//go:build unix

package main

import "syscall"

// detachTerminal starts a new session, which has no controlling terminal, so
// that no program started by kshell can prompt. It has no effect in a process
// that is the leader of a process group. A process that a shell starts for a
// completion is not such a leader.
func detachTerminal() { _, _ = syscall.Setsid() }
