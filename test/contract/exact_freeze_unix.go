//go:build unix

package contract

import (
	"errors"
	"os"
	"regexp"
	"syscall"
	"time"
)

// errRuns is a process that was to be stopped, and was not.
var errRuns = errors.New("the process was not stopped")

// asleep is how /proc has it, where there is one.
var asleep = regexp.MustCompile(`State:\s+T`)

// freeze stops a process for a while.
func freeze(p *os.Process, d time.Duration) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	stopped := func() bool { s := status(p.Pid); return s == nil || asleep.Match(s) }
	for late := time.Now().Add(atLast); !stopped(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			return errRuns
		}
	}
	time.Sleep(d)
	if !stopped() {
		return errRuns
	}
	return p.Signal(syscall.SIGCONT)
}
