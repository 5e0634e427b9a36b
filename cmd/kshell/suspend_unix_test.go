//go:build unix

package main

import (
	"strconv"
	"testing"

	"kshell/internal/sandbox"
)

// ~^Z stops the whole process group, as Ctrl-Z in a terminal does, so that the
// shell that controls the job shows its prompt. fg continues the session.
func TestSuspend(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"kshell":          "kshell exec -it web -- sh",
		"command of sh":   "sh -c 'kshell exec -it web -- sh; echo sh''-code=$?'",
		"script in shell": "sh ./script",
		"makefile":        "make -s -f ./makefile",
		"pipeline":        "kshell exec -it web -- sh | cat",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openBash(t, runSandbox(t, sandbox.Config{}))
			const text = "kshell exec -it web -- sh"
			c.run("echo '"+text+"' >script; printf 'all:\\n\\t"+text+"\\n' >makefile; command -v make", "make\r\n")
			c.prompt()
			c.keys(line + "\r")
			c.waitFor(`web\$ `)
			raw := c.modes()
			for i := range 2 {
				c.keys("~\x1a")
				c.waitFor("Stopped")
				c.prompt()
				c.run("echo loc''al", "local\r\n")
				c.prompt()
				c.keys("fg\r")
				c.waitModes(raw)
				c.run("echo rem''ote"+strconv.Itoa(i), "remote"+strconv.Itoa(i)+"\r\n")
				c.waitFor(`web\$ `)
			}
			c.keys("exit\r")
			c.waitFor(`[^b]\$ |# `) // the prompt of bash
			c.keys("exit 7\r")
			c.mustEnd(7)
		})
	}
}

// If no shell can continue the process group, kshell does not stop, and prints
// the reason.
func TestSuspend_NoJobControl(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T, s *sandbox.Server) *console{
		"orphaned group": func(t *testing.T, s *sandbox.Server) *console {
			return open(t, s, program(t), "exec", "-it", "web", "--", "sh")
		},
		"SIGTSTP ignored": func(t *testing.T, s *sandbox.Server) *console {
			c := openBash(t, s)
			c.keys("(trap '' TSTP; kshell exec -it web -- sh)\r")
			return c
		},
		"startup file of bash": func(t *testing.T, s *sandbox.Server) *console {
			c := openBash(t, s)
			c.keys("echo 'kshell exec -it web -- sh' >rc; bash --rcfile ./rc -i\r")
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, runSandbox(t, sandbox.Config{}))
			c.waitFor(`web\$ `)
			raw := c.modes()
			c.keys("~\x1a")
			c.waitFor(`kshell: warning: not suspended: kshell was not started by a shell with job control`)
			c.waitModes(raw)
			c.run("echo rem''ote", "remote\r\n")
		})
	}
}
