package terminal

import "golang.org/x/sys/windows"

// DiscardInput discards the input that was typed and not read. It ignores
// errors: the input is then read as usual.
func (t *Terminal) DiscardInput() {
	_ = windows.FlushConsoleInputBuffer(windows.Handle(t.in))
}
