//go:build unix

package main

import (
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
)

// answer has an emulator answer what the program asks the terminal, until the
// test ends, and reports on the channel each answer that was typed.
func (c *console) answer() (answered <-chan struct{}) {
	screen := vt.NewEmulator(columns0, rows0)
	typed, stop := make(chan struct{}, 100), make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for buf := make([]byte, 1000); ; {
			n, err := screen.Read(buf)
			if err != nil {
				return
			}
			if _, err := c.user.Write(buf[:n]); err != nil {
				return
			}
			typed <- struct{}{}
		}
	})
	running.Go(func() {
		for shown := 0; ; {
			text := c.all()
			_, _ = screen.Write(text[shown:]) // never fails
			shown = len(text)
			select {
			case <-stop:
				_ = screen.InputPipe().(io.Closer).Close()
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	c.t.Cleanup(func() {
		close(stop)
		running.Wait()
	})
	return typed
}

// busybox ash asks for the cursor's position with each prompt. The terminal's
// answer arrives on stdin, between Enter and ~.
func TestEscapeKeys_PromptThatAsksTheTerminal(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("no busybox on this machine")
	}
	c := open(t, startSandbox(t), program(t), "exec", "-it", "web", "--", "busybox", "ash")
	answered := c.answer()
	next := func() {
		t.Helper()
		select {
		case <-answered:
		case <-time.After(deadline):
			t.Fatalf("the shell asks nothing; the terminal: %q", c.all())
		}
	}
	next()
	c.keys("\r")
	next()
	c.keys("~.")
	c.await("kshell: session left\r\n")
	c.mustEnd(exitFailed)
}
