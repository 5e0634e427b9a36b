package terminal

import "os"

// OpenControlling opens the console of the process, even if the standard
// streams are redirected. It returns an error if the process has no console.
// The caller must close both files.
func OpenControlling() (in, out *os.File, err error) {
	// Changing the mode of the console, and reading it, need both rights.
	if in, err = os.OpenFile("CONIN$", os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	if out, err = os.OpenFile("CONOUT$", os.O_RDWR, 0); err != nil {
		_ = in.Close() // nothing was read
		return nil, nil, err
	}
	return in, out, nil
}
