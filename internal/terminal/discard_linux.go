package terminal

import "golang.org/x/sys/unix"

// DiscardInput discards the input that was typed and not read. It ignores
// errors: the input is then read as usual.
func (t *Terminal) DiscardInput() {
	_ = unix.IoctlSetInt(t.in, unix.TCFLSH, unix.TCIFLUSH)
}
