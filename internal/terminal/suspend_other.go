//go:build unix && !linux

package terminal

import "golang.org/x/sys/unix"

// parentsIgnore returns false: there is no portable way to find out which
// signals another process ignores.
func parentsIgnore(unix.Signal) bool { return false }
