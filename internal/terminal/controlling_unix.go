//go:build unix

package terminal

import "os"

// OpenControlling opens the terminal of the process, even if the standard
// streams are redirected. It returns an error if the process has no terminal.
// The caller must close both files.
func OpenControlling() (in, out *os.File, err error) {
	if in, err = os.OpenFile("/dev/tty", os.O_RDONLY, 0); err != nil {
		return nil, nil, err
	}
	if out, err = os.OpenFile("/dev/tty", os.O_WRONLY, 0); err != nil {
		_ = in.Close() // nothing was read
		return nil, nil, err
	}
	return in, out, nil
}
