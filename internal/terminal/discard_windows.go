package terminal

import "golang.org/x/sys/windows"

// DiscardInput drops what was typed and not read yet.
func (t *Terminal) DiscardInput() {
	_ = windows.FlushConsoleInputBuffer(windows.Handle(t.in)) // what cannot be dropped is read
}
