//go:build unix

package main

import "syscall"

// alone leaves the terminal, so that no program started from here can ask anybody anything. It fails for the leader of a process group, which
// nobody's completion is.
func alone() { _, _ = syscall.Setsid() }
