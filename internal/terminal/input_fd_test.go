//go:build unix

package terminal

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Descriptor 0 can be read with select, so Pause succeeds.
func TestInput_Descriptor0(t *testing.T) {
	if os.Stdin.Fd() != 0 {
		t.Fatalf("standard input is descriptor %d", os.Stdin.Fd())
	}
	resume, ok := openInput(t, os.Stdin).Pause()
	if !ok {
		t.Fatal("Pause failed")
	}
	resume()
}

// If the descriptor of the pipe that interrupts a Read would be too high for
// select, the file is read nevertheless.
func TestInput_NoLowDescriptorForWakePipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	typeKeys(t, w, "text")
	for {
		fd, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Skipf("no descriptor that high: %v", err)
		}
		defer func() { _ = unix.Close(fd) }()
		if fd >= unix.FD_SETSIZE-1 {
			break
		}
	}
	if got := readOnce(t, openInput(t, r)); got.text != "text" || got.err != nil {
		t.Errorf("Read = %q, %v", got.text, got.err)
	}
}
