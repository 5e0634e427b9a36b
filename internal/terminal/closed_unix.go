//go:build unix

package terminal

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// closedInterval is how often AwaitClosed checks whether ctx has ended.
const closedInterval = 100 * time.Millisecond

// AwaitClosed waits until all readers of the pipe out have closed it, and returns
// true. It returns false within 100 ms after ctx has ended, and at once if out is
// not a pipe or cannot be checked.
func AwaitClosed(ctx context.Context, out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	if info, err := f.Stat(); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		return false
	}
	for ctx.Err() == nil {
		pipe := []unix.PollFd{{Fd: int32(f.Fd())}}
		switch _, err := unix.Poll(pipe, int(closedInterval/time.Millisecond)); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false
		case pipe[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0: // on Linux, POLLERR
			return true
		}
	}
	return false
}
