//go:build !unix

package cleanup

import "syscall"

// Raise returns at once: on this system, a process cannot end by a signal. The
// caller must exit.
func Raise(syscall.Signal) {}
