//go:build unix

package terminal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// selected is a file that is read only when select(2) calls it readable, and
// not while the wake pipe is.
//
// It is select because that alone works for everything a stdin can be, on Linux
// and on macOS: epoll refuses files and /dev/null, kqueue never reports the end
// of a file and, like macOS's poll, fails on some terminals.
type selected struct {
	f            *os.File
	fd           int
	wakeR, wakeW *os.File
}

func fileSource(f *os.File) (source, error) {
	fd := int(f.Fd())
	if fd < 0 || fd >= unix.FD_SETSIZE {
		return direct{f}, nil
	}
	wakeR, wakeW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("prepare to read %s: %w", f.Name(), err)
	}
	s := &selected{f: f, fd: fd, wakeR: wakeR, wakeW: wakeW}
	if wakeR.Fd() >= unix.FD_SETSIZE {
		s.interrupt()
		s.close()
		return direct{f}, nil
	}
	return s, nil
}

func (s *selected) read(p []byte) (int, error) {
	for {
		if err := s.wait(); err != nil {
			return 0, err
		}
		n, err := s.f.Read(p)
		if errors.Is(err, unix.EAGAIN) {
			continue // another owner of the stream made it non-blocking and was faster
		}
		return n, s.explain(err)
	}
}

// wait returns nil when the file is readable, errInterrupted after interrupt.
func (s *selected) wait() error {
	wake := int(s.wakeR.Fd())
	for {
		var ready unix.FdSet
		ready.Set(s.fd)
		ready.Set(wake)
		_, err := unix.Select(max(s.fd, wake)+1, &ready, nil, nil, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for %s: %w", s.f.Name(), err)
		case ready.IsSet(wake):
			return s.woken()
		default:
			return nil
		}
	}
}

// woken says what the wake pipe was made readable for.
func (s *selected) woken() error {
	if n, _ := s.wakeR.Read(make([]byte, 1)); n > 0 { // what there is can be read at once
		return errNudged
	}
	return errInterrupted
}

// nudge ends one wait, or the next one.
func (s *selected) nudge() bool {
	_, err := s.wakeW.Write([]byte{0})
	return err == nil
}

// explain puts words to EIO, which is what a terminal gives to a process that
// may not read from it.
func (s *selected) explain(err error) error {
	switch {
	case !errors.Is(err, unix.EIO):
		return err
	case background(s.fd):
		return errBackground
	default:
		return fmt.Errorf("the terminal has hung up: %w", err)
	}
}

// interrupt makes the wake pipe readable, for good, by ending it.
func (s *selected) interrupt() bool { return s.wakeW.Close() == nil }

func (s *selected) close() { _ = s.wakeR.Close() }
