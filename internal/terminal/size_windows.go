package terminal

import "time"

// sizePoll is the interval at which the size is polled. The console's own
// resize events are not used: they report the buffer, not the window, and are
// mixed with the keys in the input.
const sizePoll = 250 * time.Millisecond

// watchSize returns wait, which returns true after a change of the size, and
// false when quit is closed. If the size changes while wait is not running, the
// next call of wait returns true. release stops the polling.
func watchSize(t *Terminal) (wait func(quit <-chan struct{}) bool, release func()) {
	last, _ := t.Size() // on error, the first size that is known counts as a change
	ticker := time.NewTicker(sizePoll)
	wait = func(quit <-chan struct{}) bool {
		for {
			select {
			case <-ticker.C:
			case <-quit:
				return false
			}
			if now, err := t.Size(); err == nil && now != last {
				last = now
				return true
			}
		}
	}
	return wait, ticker.Stop
}
