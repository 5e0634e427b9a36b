package terminal

import "errors"

// Suspend returns an error: Windows has no job control.
func Suspend() error { return errors.New("a process cannot be suspended on Windows") }

// OnContinue does nothing on Windows.
func (t *Terminal) OnContinue(func()) (stop func()) { return func() {} }
