package remote

import (
	"io"
	"syscall"
	"testing"

	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// When the local terminal is closed, a read may fail before the signal arrives.
// Therefore an error of the terminal also means that the user has left.
func TestIsLeft(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{outcome.ErrLeft, true},
		{&stream.ExitError{Code: 1}, false},
		{&stream.RemoteError{}, false},
		{&stream.LostError{Err: io.EOF}, true},
		{&stream.LostError{Err: &containerEndedError{"the pod is gone"}}, false},
		{&stream.InputError{Err: syscall.EIO}, true},
		{&stream.OutputError{Err: syscall.EIO}, true},
	} {
		if got := isLeft(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}
