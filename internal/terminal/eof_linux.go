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
// terminal in, which must not be in raw mode, and removes Ctrl-D from the
// input. It reports whether that has happened: it returns false when ctx ends,
// if in is not a terminal, and if a line was typed, which the next program is
// to read.
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
		// TIOCINQ does not count Ctrl-D.
		if typed, err := unix.IoctlGetInt(fd, unix.TIOCINQ); err != nil || typed > 0 {
			return false
		}
		n, err = unix.Read(fd, make([]byte, 1))
		return n == 0 && err == nil
	}
	return false
}
