//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// hangUp sends SIGHUP to the shell and to its foreground process group. An
// interactive shell passes the signal on to its jobs, but bash does not do that
// while it reads its startup file, and the demo runs kshell from that file.
func hangUp(tty *os.File, shell *os.Process) error {
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	if err == nil && group > 1 && group != unix.Getpgrp() {
		_ = unix.Kill(-group, unix.SIGHUP) // the group may have ended just now
	}
	return shell.Signal(syscall.SIGHUP)
}

// takeBack makes our process group the foreground process group of the
// terminal, as an interactive shell does when it exits.
func takeBack(tty *os.File) {
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	_ = unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCSPGRP, unix.Getpgrp()) // fails if the terminal is gone
}
