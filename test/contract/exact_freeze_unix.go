//go:build unix

package contract

import (
	"os"
	"syscall"
	"time"
)

// freeze stops a process for a while. It may have ended: that is seen elsewhere.
func freeze(p *os.Process, d time.Duration) {
	_ = p.Signal(syscall.SIGSTOP)
	time.Sleep(d)
	_ = p.Signal(syscall.SIGCONT)
}
