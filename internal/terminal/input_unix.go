//go:build unix

package terminal

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// selectFile is a source that waits with select(2) for the file and for a wake
// pipe. It reads the file only when the file is readable and the wake pipe is
// not. On Linux, it is used if pollTerminal returns nil.
//
// Only select supports all kinds of stdin on Linux and macOS. epoll rejects
// files and /dev/null. kqueue never reports the end of a file. On macOS, kqueue
// and poll fail on some terminals.
type selectFile struct {
	f            *os.File
	fd           int
	wake         int      // the descriptor of wakeR
	wakeR, wakeW *os.File // a byte makes one read return errNudged; EOF makes all reads return errInterrupted
}

func fileSource(f *os.File) (source, error) {
	if t := pollTerminal(f); t != nil {
		return t, nil
	}
	return selectSource(f)
}

func selectSource(f *os.File) (source, error) {
	fd := int(f.Fd())
	if fd < 0 || fd >= unix.FD_SETSIZE {
		return direct{f}, nil
	}
	wakeR, wakeW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("prepare to read %s: %w", f.Name(), err)
	}
	s := &selectFile{f: f, fd: fd, wake: int(wakeR.Fd()), wakeR: wakeR, wakeW: wakeW}
	if s.wake >= unix.FD_SETSIZE {
		s.interrupt()
		s.close()
		return direct{f}, nil
	}
	return s, nil
}

func (s *selectFile) read(p []byte) (int, error) {
	for {
		if err := s.wait(); err != nil {
			return 0, err
		}
		n, err := s.f.Read(p)
		if errors.Is(err, unix.EAGAIN) {
			continue // the file is non-blocking, and another process has read the input first
		}
		return n, explainRead(s.fd, err)
	}
}

// wait waits until the file is readable. After interrupt, it returns
// errInterrupted. After nudge, it returns errNudged once.
func (s *selectFile) wait() error {
	for {
		var ready unix.FdSet
		ready.Set(s.fd)
		ready.Set(s.wake)
		_, err := unix.Select(max(s.fd, s.wake)+1, &ready, nil, nil, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for %s: %w", s.f.Name(), err)
		case ready.IsSet(s.wake):
			return s.wakeReason()
		default:
			return nil
		}
	}
}

// ready reports whether the file is readable, so that read does not wait. It returns
// false after interrupt.
func (s *selectFile) ready() bool {
	for {
		var ready unix.FdSet
		ready.Set(s.fd)
		ready.Set(s.wake)
		n, err := unix.Select(max(s.fd, s.wake)+1, &ready, nil, nil, &unix.Timeval{})
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0 && ready.IsSet(s.fd) && !ready.IsSet(s.wake)
		}
	}
}

// short reports whether the file probably is short; see [Input.Short].
func (s *selectFile) short() bool {
	info, err := s.f.Stat()
	if err != nil {
		return false
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		offset, err := s.f.Seek(0, io.SeekCurrent)
		return err == nil && info.Size()-offset <= shortInput
	case mode&os.ModeNamedPipe != 0:
		fds := [...]unix.PollFd{{Fd: int32(s.fd)}}
		_, err := unix.Poll(fds[:], 0)
		return err == nil && fds[0].Revents&unix.POLLHUP != 0
	default:
		null, err := os.Stat(os.DevNull)
		return err == nil && os.SameFile(info, null)
	}
}

// wakeReason returns errNudged if the wake pipe contains a byte, and
// errInterrupted at the end of the pipe. Call it only when the wake pipe is
// readable; otherwise it blocks.
func (s *selectFile) wakeReason() error {
	if n, _ := s.wakeR.Read(make([]byte, 1)); n > 0 {
		return errNudged
	}
	return errInterrupted
}

// nudge makes one wait return errNudged: the wait in progress or, if there is
// none, the next wait. nudge reports whether it succeeded.
func (s *selectFile) nudge() bool {
	_, err := s.wakeW.Write([]byte{0})
	return err == nil
}

// interrupt closes the writing end of the wake pipe, so that its reading end is
// always readable.
func (s *selectFile) interrupt() bool { return s.wakeW.Close() == nil }

func (s *selectFile) close() { _ = s.wakeR.Close() }

// explainRead replaces EIO by an error that states the reason. A read of a
// terminal fails with EIO if the process is in the background, or if the terminal
// has hung up.
func explainRead(fd int, err error) error {
	switch {
	case !errors.Is(err, unix.EIO):
		return err
	case background(fd):
		return errBackground
	default:
		return fmt.Errorf("the terminal has hung up: %w", err)
	}
}
