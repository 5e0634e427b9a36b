package terminal

import (
	"errors"

	"golang.org/x/sys/windows"
	"golang.org/x/term"
)

// modes are the console modes before raw mode, of both handles: keys and
// screen are set separately.
type modes struct {
	in  *term.State
	out *term.State // nil if the output is no console
}

// rawOutput is what a remote program expects of a screen.
const rawOutput = windows.ENABLE_PROCESSED_OUTPUT |
	windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING |
	windows.DISABLE_NEWLINE_AUTO_RETURN

// makeRaw relies on term.MakeRaw to turn on ENABLE_VIRTUAL_TERMINAL_INPUT.
func makeRaw(in, out int) (*modes, error) {
	before, err := term.MakeRaw(in)
	if err != nil {
		return nil, err
	}
	m := &modes{in: before}
	if out == noTerminal {
		return m, nil
	}
	if m.out, err = rawScreen(out); err != nil {
		return nil, errors.Join(err, term.Restore(in, before))
	}
	return m, nil
}

func rawScreen(out int) (*term.State, error) {
	before, err := term.GetState(out)
	if err != nil {
		return nil, err
	}
	var mode uint32
	if err := windows.GetConsoleMode(windows.Handle(out), &mode); err != nil {
		return nil, err
	}
	return before, windows.SetConsoleMode(windows.Handle(out), mode|rawOutput)
}

// keep makes m restore what older would have restored.
func (m *modes) keep(older *modes) { m.in, m.out = older.in, older.out }

func (m *modes) restore(in, out int) error {
	err := term.Restore(in, m.in)
	if m.out == nil {
		return err
	}
	return errors.Join(err, term.Restore(out, m.out))
}

// background: a console belongs to all processes that are attached to it.
func background(int) bool { return false }
