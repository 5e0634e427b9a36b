//go:build !linux

package terminal

import (
	"context"
	"io"
)

// ReportsEOF reports whether AwaitEOF can return true on this system.
const ReportsEOF = false

// AwaitEOF returns false: this system does not report whether Ctrl-D was typed
// without reading lines that the next program is to read.
func AwaitEOF(context.Context, io.Reader) bool { return false }
