//go:build unix

package main

import "syscall"

// detachTerminal starts a new session, which has no controlling terminal, so
// that no program started by kshell can prompt. It has no effect if the process
// leads a process group; a process that a shell starts for a completion does
// not.
func detachTerminal() { _, _ = syscall.Setsid() }
