//go:build unix

package terminal

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// watchSize returns wait, which returns true after a SIGWINCH, and false when
// quit is closed. No SIGWINCH after the return of watchSize is missed, even
// while wait is not running. release ends the delivery of the signal.
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
