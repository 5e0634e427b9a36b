//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// hangUp tells a shell, and whatever it runs in the foreground, that the terminal is gone. An interactive shell would pass
// that on to its jobs, but bash does not while it reads its start-up file, and there the demo spends its time.
func hangUp(tty *os.File, shell *os.Process) error {
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	if err == nil && group > 1 && group != unix.Getpgrp() {
		_ = unix.Kill(-group, unix.SIGHUP) // it may have ended just now
	}
	return shell.Signal(syscall.SIGHUP)
}

// takeBack makes our process group the terminal's foreground again, as a shell does that ends in peace.
func takeBack(tty *os.File) {
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	_ = unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCSPGRP, unix.Getpgrp()) // fails if the terminal is gone
}
