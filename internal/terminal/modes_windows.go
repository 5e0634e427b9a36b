package terminal

import (
	"errors"

	"golang.org/x/sys/windows"
	"golang.org/x/term"
)

// modes are the console modes before raw mode. Input and output have separate
// modes.
type modes struct {
	in  *term.State
	out *term.State // nil if the output is not a console
}

// rawOutput are the output modes that a remote program expects.
const rawOutput = windows.ENABLE_PROCESSED_OUTPUT |
	windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING |
	windows.DISABLE_NEWLINE_AUTO_RETURN

// makeRaw sets raw mode. For the input, term.MakeRaw does everything, including
// ENABLE_VIRTUAL_TERMINAL_INPUT; makeRawOutput sets the modes of the output.
func makeRaw(in, out int) (*modes, error) {
	before, err := term.MakeRaw(in)
	if err != nil {
		return nil, err
	}
	m := &modes{in: before}
	if out == noTerminal {
		return m, nil
	}
	if m.out, err = makeRawOutput(out); err != nil {
		return nil, errors.Join(err, term.Restore(in, before))
	}
	return m, nil
}

func makeRawOutput(out int) (*term.State, error) {
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

// restoreTo makes m restore the modes that older would have restored.
func (m *modes) restoreTo(older *modes) { m.in, m.out = older.in, older.out }

func (m *modes) restore(in, out int) error {
	err := term.Restore(in, m.in)
	if m.out == nil {
		return err
	}
	return errors.Join(err, term.Restore(out, m.out))
}

// background returns false, because Windows has no job control: all processes
// that are attached to a console may use it at any time.
func background(int) bool { return false }
