//go:build unix

package main

import "syscall"

// detachTerminal starts a new session, which has no controlling terminal, so
// that no program started by kshell can prompt. It has no effect in a process
// that leads a process group. A process that a shell starts for a completion
// leads none.
func detachTerminal() { _, _ = syscall.Setsid() }
