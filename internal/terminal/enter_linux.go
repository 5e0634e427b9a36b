package terminal

import (
	"context"
	"errors"
	"io"
	"time"

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
	fd := terminalFd(in)
	if fd == noTerminal {
		return false
	}
	fd, err := openNonblocking(fd)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	for ctx.Err() == nil {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if background(fd) { // a read would stop the process with SIGTTIN
			ready[0].Fd = -1 // poll ignores the terminal, and only waits
		}
		n, err := unix.Poll(ready, int(eofInterval/time.Millisecond))
		switch {
		case errors.Is(err, unix.EINTR), err == nil && n == 0, err == nil && background(fd):
			continue
		case err != nil, ready[0].Revents != unix.POLLIN: // the terminal has hung up
			return false
		}
		n, err = unix.Read(fd, make([]byte, 4<<10))                      // a line is at most 4095 bytes long
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) { // EAGAIN: another process has read the line
			return n > 0 && err == nil
		}
	}
	return false
}
