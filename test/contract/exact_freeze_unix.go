//go:build unix

package contract

import (
	"errors"
	"os"
	"regexp"
	"syscall"
	"time"
)

// errNotStopped means that a process did not stop, or continued too early.
var errNotStopped = errors.New("the process did not stay stopped")

// stoppedState matches the state of a stopped process in /proc.
var stoppedState = regexp.MustCompile(`State:\s+T`)

// freeze stops a process for the time d.
func freeze(p *os.Process, d time.Duration) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	stopped := func() bool { s := status(p.Pid); return s == nil || stoppedState.Match(s) }
	for late := time.Now().Add(terminalTimeout); !stopped(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			return errNotStopped
		}
	}
	time.Sleep(d)
	if !stopped() {
		return errNotStopped
	}
	return p.Signal(syscall.SIGCONT)
}
