package terminal

import "time"

// sizePoll is how often the console is asked for its size. Its own events come
// through the input, are made for the buffer rather than the window, and would
// have to be taken from among the keys.
const sizePoll = 250 * time.Millisecond

// watchSize returns wait, which returns true when the size has changed and
// false once quit is closed. Changes count from the call of watchSize on.
func watchSize(t *Terminal) (wait func(quit <-chan struct{}) bool, release func()) {
	last, _ := t.Size() // no size yet: any later one is a change
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
