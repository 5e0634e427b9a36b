//go:build unix

package terminal

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// watchSize returns wait, which returns true on the next SIGWINCH and false
// once quit is closed. Signals count from the return of watchSize on.
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
