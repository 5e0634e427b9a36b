//go:build unix

package cleanup

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// raiseTimeout is how long Raise waits for the signal to end the process.
const raiseTimeout = 100 * time.Millisecond

// Raise ends the process with s, which must be the signal of a SignalError: it
// restores the default action of s and sends s to the process. The parent
// process then sees that a signal has ended the process. A shell ends its loop
// or script if SIGINT has ended a command, but not if the command has exited
// with code 130.
//
// Raise returns if s does not end the process: s is ignored, or the process is
// the first one of a container, or s is not INT, TERM or HUP (the Go runtime
// would print the stacks of all goroutines after QUIT). The caller must then
// exit.
func Raise(s syscall.Signal) {
	switch s {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP:
	default:
		return
	}
	if os.Getpid() == 1 { // the kernel drops the signal, and the Go runtime would then exit with 2
		return
	}
	signal.Reset(s)
	if err := syscall.Kill(os.Getpid(), s); err == nil {
		time.Sleep(raiseTimeout) //nolint:forbidigo // the signal ends the process during this time
	}
}
