package terminal

import "golang.org/x/sys/unix"

// DiscardInput drops what was typed and not read yet.
func (t *Terminal) DiscardInput() {
	_ = unix.IoctlSetInt(t.in, unix.TCFLSH, unix.TCIFLUSH) // what cannot be dropped is read
}
