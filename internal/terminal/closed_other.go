//go:build !unix

package terminal

import (
	"context"
	"io"
)

// AwaitClosed returns false. On this system, only a write fails if the
// reader of a pipe has closed it.
func AwaitClosed(context.Context, io.Writer) bool { return false }
