//go:build unix && !linux

package terminal

import "golang.org/x/sys/unix"

// inputQueue is the argument of TIOCFLUSH that selects the input: FREAD in
// sys/fcntl.h.
const inputQueue = 1

// DiscardInput discards input that was typed but not read yet. It ignores
// errors: if it fails, the input stays and is read as usual.
func (t *Terminal) DiscardInput() {
	_ = unix.IoctlSetPointerInt(t.in, unix.TIOCFLUSH, inputQueue)
}
