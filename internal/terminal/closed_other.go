//go:build !unix

package terminal

import (
	"context"
	"io"
)

// AwaitClosed returns false at once. On this system, only a write can detect
// that the reader of a pipe has closed it.
func AwaitClosed(context.Context, io.Writer) bool { return false }
