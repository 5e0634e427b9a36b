//go:build unix

package terminal

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// watchSize returns wait, which returns true after a SIGWINCH, and false when
// quit is closed. If a SIGWINCH arrives while wait is not running, the next
// call of wait returns true at once. release ends the delivery of the signal.
func watchSize(*Terminal) (wait func(quit <-chan struct{}) bool, release func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGWINCH)
	wait = func(quit <-chan struct{}) bool {
		select {
		case <-signals:
			return true
		case <-quit:
			return false
		}
	}
	return wait, func() { signal.Stop(signals) }
}
