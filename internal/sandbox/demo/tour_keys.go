//go:build unix

package main

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// readKeys sets the terminal to raw mode, and reads keys until stop is called.
// Enter sends a value to g.keys, and Ctrl-C calls leave. All other keys have no
// effect. stop restores the terminal.
func (g *guide) readKeys(stdin *os.File, leave func()) (stop func(), err error) {
	fd := int(stdin.Fd())
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	restore := func() { _ = term.Restore(fd, state) } // the terminal may be gone
	quit, stopped, err := os.Pipe()
	if err != nil {
		restore()
		return nil, err
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		key := make([]byte, 1)
		for wait(fd, int(quit.Fd())) {
			if n, err := unix.Read(fd, key); err == unix.EINTR {
				continue
			} else if err != nil || n == 0 { // the terminal is gone
				leave()
				return
			}
			switch key[0] {
			case 0x03:
				leave()
				return
			case '\r', '\n':
				select {
				case g.keys <- struct{}{}:
				default: // one is pending
				}
			}
		}
	})
	return func() {
		_ = stopped.Close()
		reader.Wait()
		_ = quit.Close()
		restore()
	}, nil
}

// wait waits until fd can be read. It returns false if quit can be read or is at
// its end. It uses select, because poll does not support terminals on macOS.
func wait(fd, quit int) bool {
	for {
		var ready unix.FdSet
		ready.Set(fd)
		ready.Set(quit)
		_, err := unix.Select(max(fd, quit)+1, &ready, nil, nil, nil)
		if err == unix.EINTR {
			continue
		}
		return err == nil && !ready.IsSet(quit)
	}
}
