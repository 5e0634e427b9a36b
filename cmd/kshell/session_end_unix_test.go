//go:build unix

package main

import (
	"bufio"
	"syscall"
	"testing"

	"kshell/internal/stream"
)

// When the outcome of a shell is known, kshell stops reading keys and restores
// the terminal. Then it requests the status of the pod, which can take long.
// What is typed during this request is left to the next program, and Ctrl-C
// sends a signal.
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

// If the server reports success and the user has typed neither exit nor Ctrl-D,
// kshell checks the success by another exec. It does so only with
// v5.channel.k8s.io: with other subprotocols, API servers do not report success
// for a node that is dead.
func TestSessionEnd_SuccessIsChecked(t *testing.T) {
	t.Parallel()
	for protocol, execs := range map[string]int{stream.V5: 2, stream.V4: 1, stream.V4Base64: 1} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			c := open(t, s, program(t), "exec", "-it", "--subprotocol", protocol, "web", "--",
				"sh", "-c", "printf 'pro''gram'; read -r _")
			c.waitFor("program")
			c.keys("q\r")
			c.mustEnd(0)
			if got := s.Stats().Sessions; got != execs {
				t.Errorf("%d execs, want %d", got, execs)
			}
		})
	}
}
