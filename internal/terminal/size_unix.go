//go:build unix

package terminal

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// watchSize returns wait, which waits for a SIGWINCH and returns true, or
// returns false when quit is closed. Signals after the return of watchSize are
// not missed.
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
