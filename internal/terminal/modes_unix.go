//go:build unix

package terminal

import (
	"errors"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// modes are the termios settings before raw mode and in raw mode. They belong
// to the terminal, not to a descriptor, so the output needs no separate modes.
type modes struct {
	before, raw *term.State
}

func makeRaw(in, _ int) (*modes, error) {
	before, err := term.MakeRaw(in)
	if err != nil {
		return nil, err
	}
	raw, err := term.GetState(in)
	if err != nil {
		return nil, errors.Join(err, term.Restore(in, before))
	}
	return &modes{before: before, raw: raw}, nil
}

// restoreTo makes m restore the modes that older would have restored.
func (m *modes) restoreTo(older *modes) { m.before = older.before }

// restore sets the modes at once (TCSANOW). Waiting for pending output, as
// TCSADRAIN does, would block on a terminal that was stopped with Ctrl-S.
//
// In the background, setting the modes would stop the process with SIGTTOU.
// While the signal is ignored, the kernel permits the change. In the
// background, restore does nothing if the modes are no longer those of raw
// mode: the foreground job has set them.
func (m *modes) restore(in, _ int) error {
	if !signal.Ignored(unix.SIGTTOU) {
		signal.Ignore(unix.SIGTTOU)
		defer signal.Reset(unix.SIGTTOU)
	}
	if background(in) {
		now, err := term.GetState(in)
		if err == nil && *now != *m.raw {
			return nil
		}
	}
	for {
		if err := term.Restore(in, m.before); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// background reports whether fd is the controlling terminal of this process and
// another process group is in its foreground. For a terminal that is not the
// controlling one, it returns false, because that terminal has no job control.
func background(fd int) bool {
	foreground, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && foreground != unix.Getpgrp()
}
