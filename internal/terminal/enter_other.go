//go:build !linux

package terminal

import (
	"context"
	"io"
)

// ReportsEnter reports whether AwaitEnter can return true on this system.
const ReportsEnter = false

// AwaitEnter returns false at once. It is implemented only on Linux.
func AwaitEnter(context.Context, io.Reader) bool { return false }
