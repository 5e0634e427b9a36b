//go:build unix

package main

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"kshell/internal/outcome"
	"kshell/internal/sandbox"
)

// After a panic in a goroutine, the terminal stays restored while the pod is
// being deleted, even if the session reconnects during that time.
func TestTerminal_StaysRestoredAfterPanic(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(sandbox.Fault{Path: "/exec", Code: 403, Body: "no"}) // kshell panics when it prints this error
	deleting := make(chan struct{})
	undo := s.Inject(sandbox.Fault{
		Path: "/pods/", Method: "DELETE", Do: sandbox.Hang, Seen: sync.OnceFunc(func() { close(deleting) }),
	})
	c := open(t, s, panicking(t), onNode()...)
	select {
	case <-deleting:
	case <-time.After(deadline):
		t.Fatalf("no pod is deleted; the terminal:\n%s", c.all())
	}
	c.waitModes(c.before)
	s.Restart()
	waitSessions(t, s, func([]sandbox.Session) bool {
		shells := sessionsWithTTY(s)
		return len(shells) == 2 && (!shells[1].Open || c.modes() != c.before)
	})
	if c.modes() != c.before {
		t.Error("the terminal was made raw again")
	}
	undo()
	s.Restart() // the deletion is tried again
	c.waitFor(atLineStart("panic: test: stderr"))
	c.mustEnd(outcome.ExitFailed)
	if pods := nodePods(t, s); len(pods) != 0 {
		t.Errorf("pod %s is left", pods[0].Name)
	}
}

// Exits that TestTerminal_Restored does not cover.
func TestTerminal_RestoredOnEveryExit(t *testing.T) {
	t.Parallel()
	silent := sandbox.Fault{Path: "/", Do: sandbox.Hang}
	for name, test := range map[string]struct {
		flags []string
		end   func(*console, *sandbox.Server)
		code  int
	}{
		"timeout": {[]string{"--timeout", "3s"}, func(*console, *sandbox.Server) {}, outcome.ExitTimeout},
		"~.":      {nil, func(c *console, _ *sandbox.Server) { c.keys("~.") }, outcome.ExitFailed},
		"lost connection": {
			[]string{"--reconnect", "never"}, func(_ *console, s *sandbox.Server) { s.Restart() }, outcome.ExitFailed,
		},
		"refused after a lost connection": {nil, func(c *console, s *sandbox.Server) {
			s.Inject(sandbox.Fault{Code: 403, Body: "no"})
			s.Restart()
		}, outcome.ExitFailed},
		"TERM, forced after 2 s": {nil, func(c *console, s *sandbox.Server) {
			s.Inject(silent) // the remote shell cannot be ended
			c.signal(syscall.SIGTERM)
		}, 143},
		"TERM, forced by INT": {nil, func(c *console, s *sandbox.Server) {
			s.Inject(silent)
			c.signal(syscall.SIGTERM)
			time.Sleep(550 * time.Millisecond) // signals within 500 ms count as one
			c.signal(syscall.SIGINT)
		}, 143},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			args := append([]string{shortLimits + "=1", program(t), "exec", "-it"}, test.flags...)
			c := open(t, s, "env", append(args, "web", "--", "sh")...)
			c.prompt()
			c.mustBeRaw()
			test.end(c, s)
			c.mustEnd(test.code)
		})
	}
}
