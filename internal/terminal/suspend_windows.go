package terminal

import "errors"

// Suspend fails: a Windows process cannot be stopped by itself.
func Suspend() error { return errors.New("a process cannot be suspended on Windows") }

// OnContinue does nothing on Windows.
func (t *Terminal) OnContinue(func()) (stop func()) { return func() {} }
