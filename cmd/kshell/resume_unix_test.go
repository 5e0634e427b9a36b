//go:build unix

package main

import (
	"strings"
	"testing"

	"kshell/internal/agentbin"
)

// needAgents skips a test that needs the session agents.
func needAgents(t *testing.T) {
	t.Helper()
	if agentbin.BuildID() == "" {
		t.Skip("kshell contains no session agents: run make agent")
	}
}

const lossHint = "hint: with --resume, the same shell continues after a lost connection\r\n"

// The hint for --resume is printed once, after the first loss, unless the user
// has set resume: never.
func TestShellReconnect_ResumeHint(t *testing.T) {
	t.Parallel()
	needAgents(t)
	tests := map[string]struct {
		env  string
		want int
	}{
		"not set": {"KSHELL_RESUME=", 1},
		"never":   {"KSHELL_RESUME=never", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			c := open(t, s, "env", tt.env, program(t), "exec", "-it", "web", "--", "sh")
			c.prompt()
			for range 2 {
				s.Restart()
				c.waitFor("this is a new shell\r\n")
				c.prompt()
			}
			c.keys("exit 4\r")
			c.mustEnd(4)
			if n := strings.Count(string(c.all()), lossHint); n != tt.want {
				t.Errorf("the hint was printed %d times, want %d:\n%s", n, tt.want, c.all())
			}
		})
	}
}
