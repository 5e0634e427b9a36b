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

// eofInterval is how often awaitInput checks whether ctx has ended, and whether
// kshell is in the background.
const eofInterval = 100 * time.Millisecond

// AwaitEOF waits until Ctrl-D is typed at the beginning of a line of the
// terminal in, removes the Ctrl-D from the input, and returns true. It returns
// false when ctx ends, if in is not a terminal or kshell is in the background,
// and when a line is typed, which stays in the input for the next program. The
// terminal must not be in raw mode.
func AwaitEOF(ctx context.Context, in io.Reader) bool {
	n, err := awaitInput(ctx, in, false, func(fd int) (int, error) {
		// TIOCINQ returns the number of bytes that can be read, without Ctrl-D.
		if typed, err := unix.IoctlGetInt(fd, unix.TIOCINQ); err != nil || typed > 0 {
			return 0, errNoInput
		}
		return unix.Read(fd, make([]byte, 1))
	})
	return n == 0 && err == nil
}

// errNoInput means that awaitInput has ended without reading anything.
var errNoInput = errors.New("nothing was read from the terminal")

// awaitInput waits until the terminal in has input, and returns the result of
// read. The descriptor that it passes to read does not block. If another process
// has read the input first, awaitInput waits again. In the background, it waits
// without calling read, because a read would stop the process with SIGTTIN; if
// waitInBackground is false, it returns an error instead. It also returns an
// error when ctx ends, if in is not a terminal, and when the terminal hangs up.
func awaitInput(
	ctx context.Context, in io.Reader, waitInBackground bool, read func(fd int) (int, error),
) (n int, err error) {
	fd := terminalFd(in)
	if fd == noTerminal {
		return 0, errNoInput
	}
	if fd, err = openNonblocking(fd); err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	for ctx.Err() == nil {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if background(fd) {
			if !waitInBackground {
				return 0, errNoInput
			}
			ready[0].Fd = -1 // poll only waits
		}
		n, err := unix.Poll(ready, int(eofInterval/time.Millisecond))
		switch {
		case errors.Is(err, unix.EINTR), err == nil && n == 0, err == nil && background(fd):
			continue
		case err != nil, ready[0].Revents != unix.POLLIN: // the terminal has hung up
			return 0, errNoInput
		}
		if n, err = read(fd); !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
	return 0, ctx.Err()
}

// openNonblocking opens the terminal fd again, and returns a descriptor whose
// reads do not block. Setting O_NONBLOCK on fd itself would also affect the
// other processes that use the terminal through the same open file description.
func openNonblocking(fd int) (int, error) {
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
}
