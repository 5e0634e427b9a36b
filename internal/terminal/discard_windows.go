package terminal

import "golang.org/x/sys/windows"

// Discard drops what was typed and not read yet.
func (t *Terminal) Discard() {
	_ = windows.FlushConsoleInputBuffer(windows.Handle(t.in)) // what cannot be dropped is read
}
