//go:build unix && !linux

package terminal

import "golang.org/x/sys/unix"

// inputQueue is FREAD of sys/fcntl.h.
const inputQueue = 1

// DiscardInput drops what was typed and not read yet.
func (t *Terminal) DiscardInput() {
	_ = unix.IoctlSetPointerInt(t.in, unix.TIOCFLUSH, inputQueue) // what cannot be dropped is read
}
