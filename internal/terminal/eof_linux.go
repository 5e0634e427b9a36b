package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// ReportsEOF reports whether AwaitEOF can return true on this system.
const ReportsEOF = true

// eofInterval is how often AwaitEOF and AwaitEnter check whether ctx has ended,
// and whether kshell is in the background.
const eofInterval = 100 * time.Millisecond

// AwaitEOF waits until Ctrl-D is typed at the beginning of a line of the
// terminal in, removes the Ctrl-D from the input, and returns true. It returns
// false when ctx ends, if in is not a terminal or kshell is in the background,
// and when a line is typed, which stays in the input for the next program. The
// terminal must not be in raw mode.
func AwaitEOF(ctx context.Context, in io.Reader) bool {
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
		n, err := unix.Poll(ready, int(eofInterval/time.Millisecond))
		switch {
		case background(fd): // a read would stop the process with SIGTTIN
			return false
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
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) { // EAGAIN: another process has read the Ctrl-D
			return n == 0 && err == nil
		}
	}
	return false
}

// openNonblocking opens the terminal fd again, and returns a descriptor whose
// reads do not block. Setting O_NONBLOCK on fd itself would also affect the
// other processes that use the terminal through the same open file description.
func openNonblocking(fd int) (int, error) {
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
}
