package terminal

import "golang.org/x/sys/windows"

// DiscardInput discards input that was typed but not read yet. It ignores
// errors: if it fails, the input stays and is read as usual.
func (t *Terminal) DiscardInput() {
	_ = windows.FlushConsoleInputBuffer(windows.Handle(t.in))
}
