//go:build unix && !linux

package terminal

import "golang.org/x/sys/unix"

// inputQueue is FREAD in sys/fcntl.h.
const inputQueue = 1

// DiscardInput discards the input that was typed and not read. It ignores
// errors: the input is then read as usual.
func (t *Terminal) DiscardInput() {
	_ = unix.IoctlSetPointerInt(t.in, unix.TIOCFLUSH, inputQueue)
}
