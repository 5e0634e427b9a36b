package terminal

import (
	"context"
	"io"

	"golang.org/x/sys/unix"
)

// ReportsEnter reports whether AwaitEnter can return true on this system.
const ReportsEnter = true

// AwaitEnter waits until the input of the terminal in contains a line, which may
// have been typed before the call. It removes the line from the input, and returns
// true. It returns false within 100 ms after ctx has ended, if in is not a
// terminal, when the terminal hangs up, and after Ctrl-D at the beginning of a
// line. While the process is in the background, it reads nothing and continues to
// wait. The terminal must not be in raw mode.
func AwaitEnter(ctx context.Context, in io.Reader) bool {
	n, err := awaitInput(ctx, in, true, func(fd int) (int, error) {
		return unix.Read(fd, make([]byte, 4<<10)) // a line is at most 4095 bytes long
	})
	return n > 0 && err == nil
}
