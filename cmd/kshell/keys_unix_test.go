//go:build unix

package main

import (
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"

	"kshell/internal/outcome"
)

// answer makes a terminal emulator answer the program's queries until the test
// ends. After each answer, it sends to answered.
func (c *console) answer() (answered <-chan struct{}) {
	screen := vt.NewEmulator(termColumns, termRows)
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

// busybox ash queries the cursor position with each prompt. The terminal's
// answer arrives on stdin between Enter and ~.
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
			t.Fatalf("the shell sends no query; the terminal: %q", c.all())
		}
	}
	next()
	c.keys("\r")
	next()
	c.keys("~.")
	c.waitFor("kshell: session left\r\n")
	c.mustEnd(outcome.ExitFailed)
}

// enter types Enter until a new prompt appears.
func (c *console) enter() {
	c.t.Helper()
	for end := time.Now().Add(deadline); time.Now().Before(end); {
		before := len(c.all())
		c.keys("\r")
		time.Sleep(50 * time.Millisecond) // otherwise kshell may read several Enters at once, like a paste
		if regexp.MustCompile(prompt).Match(c.all()[before:]) {
			c.prompt()
			return
		}
	}
	c.t.Fatalf("no prompt after Enter; the terminal: %q", c.all())
}

// After a reconnect, a new shell does not run the rest of a line whose
// beginning went to the lost shell.
func TestLineInterrupted_NewShell(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	c.keys("cd /tmp && ")
	c.waitFor("cd /tmp && ")
	s.Restart()
	c.waitFor("this is a new shell\r\n")
	c.waitFor("kshell: the line being typed was lost: press Enter, and type it again\r\n")
	c.prompt()
	before := len(c.all())
	c.keys("echo would''-rm")
	c.keys(" *\r")
	c.enter()
	c.run("echo ne''xt", "next\r\n")
	if got := string(c.all()[before:]); strings.Contains(got, "would") {
		t.Errorf("the new shell got the rest of the line: %q", got)
	}
	c.prompt()
	s.Restart() // no line was begun: nothing is discarded
	c.waitFor("this is a new shell\r\n")
	c.prompt()
	c.run("echo fi''rst", "first\r\n")
	c.prompt()
	if n := strings.Count(string(c.all()), "was lost: press Enter"); n != 1 {
		t.Errorf("a lost line was reported %d times", n)
	}
	c.keys("exit 4\r")
	c.mustEnd(4)
}

// A shell on a node continues after a reconnect and may have received part of
// the line: the user is asked to check it.
func TestLineInterrupted_SameShell(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), onNode()...)
	c.run("echo up''to", "upto\r\n")
	c.prompt()
	c.keys("echo spl''it")
	c.waitFor("echo spl''it")
	s.Restart()
	c.waitFor("the same shell\r\n")
	c.keys("x\r")
	c.waitFor("\a")
	c.waitFor("Enter was not sent: the line may be incomplete; check it, press Enter again")
	c.keys("\r")
	c.waitFor("splitx\r\n")
	c.prompt()
	s.Restart()
	c.waitFor("the same shell\r\n")
	c.run("echo cle''an", "clean\r\n")
	c.keys("exit 5\r")
	c.mustEnd(5)
}
