package terminal

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// ReportsEOF reports whether AwaitEOF can return true on this system.
const ReportsEOF = true

// eofInterval is how often AwaitEOF checks whether ctx has ended.
const eofInterval = 100 * time.Millisecond

// AwaitEOF waits until Ctrl-D is typed at the beginning of a line of the
// terminal in, removes the Ctrl-D from the input, and returns true. It returns
// false when ctx ends, if in is not a terminal or kshell is in the background,
// and when a line is typed, which stays in the input for the next program. The
// terminal must not be in raw mode.
func AwaitEOF(ctx context.Context, in io.Reader) bool {
	fd := terminalFd(in)
	if fd == noTerminal || background(fd) {
		return false
	}
	for ctx.Err() == nil {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, int(eofInterval/time.Millisecond))
		switch {
		case errors.Is(err, unix.EINTR), err == nil && n == 0:
			continue
		case err != nil, ready[0].Revents != unix.POLLIN: // the terminal has hung up
			return false
		}
		// TIOCINQ returns the number of bytes that can be read, without Ctrl-D.
		if typed, err := unix.IoctlGetInt(fd, unix.TIOCINQ); err != nil || typed > 0 {
			return false
		}
		n, err = unix.Read(fd, make([]byte, 1))
		return n == 0 && err == nil
	}
	return false
}
