//go:build unix

package terminal

import (
	"errors"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// modes are the termios before raw mode and in it. All settings belong to the
// terminal, not to a descriptor, so the output needs none of its own.
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

// keep makes m restore what older would have restored.
func (m *modes) keep(older *modes) { m.before = older.before }

// restore sets the modes at once (TCSANOW): to wait for pending output, as
// TCSADRAIN does, would be to wait for ever on a terminal stopped by Ctrl-S.
//
// A terminal that has become another job's while this process was about to ask
// for it would stop the process by SIGTTOU, for nobody to continue. Ignored,
// the kernel lets the change through.
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

// background reports whether fd is this session's controlling terminal and
// another process group has it. There is no job control on any other terminal.
func background(fd int) bool {
	front, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && front != unix.Getpgrp()
}
