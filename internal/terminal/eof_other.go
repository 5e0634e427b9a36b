//go:build !linux

package terminal

import (
	"context"
	"io"
)

// ReportsEOF reports whether AwaitEOF can return true on this system.
const ReportsEOF = false

// AwaitEOF returns false. On this system, a program can detect Ctrl-D only by a
// read, which may also remove lines that are meant for the next program.
func AwaitEOF(context.Context, io.Reader) bool { return false }
