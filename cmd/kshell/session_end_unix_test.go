//go:build unix

package main

import (
	"bufio"
	"syscall"
	"testing"
)

// When the outcome of a shell is known, kshell restores the terminal and reads
// no more keys before it requests the status of the pod, which can take long.
// The next program gets what is typed meanwhile, and Ctrl-C sends a signal.
func TestSessionEnd_TypedAhead(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	c.mustBeRaw()
	c.keys("kill -9 $$\r") // after 137, kshell waits for limits.Reason, which is a minute in tests
	c.waitModes(c.before)
	c.keys("next\n")
	c.signal(syscall.SIGINT) // ends the wait
	c.mustEnd(130)
	if line, err := bufio.NewReader(c.tty).ReadString('\n'); err != nil || line != "next\n" {
		t.Errorf("the next program reads %q, error %v", line, err)
	}
}
