package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A program that writes to a terminal that was stopped with Ctrl-S blocks in
// the kernel. Signals must still end kshell.
func TestTerminal_SignalWhileStopped(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), "env", shortLimits+"=1", program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	c.mustBeRaw()
	c.run("yes stop''me", "stopme\r\n")
	const stop = 0 // TCOOFF of termios.h
	if err := unix.IoctlSetInt(int(c.tty.Fd()), unix.TCXONC, stop); err != nil {
		t.Fatal(err)
	}
	c.waitBlockedWrite()
	start := time.Now()
	c.signal(syscall.SIGTERM)
	c.mustEnd(143)
	if took := time.Since(start); took > deadline/2 {
		t.Errorf("exited after %v", took)
	}
}

// waitBlockedWrite waits until a thread of the program blocks in a write to
// stdout.
func (c *console) waitBlockedWrite() {
	c.t.Helper()
	threads := fmt.Sprintf("/proc/%d/task/*/syscall", c.pid)
	write := fmt.Sprintf("%d 0x1 ", unix.SYS_WRITE)
	for late := time.After(deadline); ; {
		paths, err := filepath.Glob(threads)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, path := range paths {
			if in, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(in), write) {
				return
			}
		}
		select {
		case <-late:
			c.t.Fatal("the program does not block in a write")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
