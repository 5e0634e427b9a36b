//go:build unix

package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"kshell/internal/sandbox"
)

// seeded runs a sandbox with all pods.
func seeded(t *testing.T) *sandbox.Server {
	t.Helper()
	skipShort(t)
	return runSandbox(t, sandbox.Config{})
}

// narrow returns arguments of sh that run kshell in a terminal of 20 columns. The
// arguments of kshell must be appended.
func narrow(t *testing.T) []string {
	t.Helper()
	return []string{"-c", `stty cols 20; exec "$@"`, "sh", program(t)}
}

func TestNarrow_List(t *testing.T) {
	t.Parallel()
	c := open(t, seeded(t), "sh", append(narrow(t), "exec")...)
	c.waitFor(`Esc to cancel`)
	if bytes.Contains(c.all(), []byte("type to search")) {
		t.Errorf("a line is cut: %q", c.all())
	}
	c.keys("db")
	c.waitFor(`> db-0`)
	c.keys("\r")
	c.waitFor(`db-0\$ `)
	c.keys("exit 4\r")
	c.mustEnd(4)
}

// The status line shows the whole countdown.
func TestNarrow_Status(t *testing.T) {
	t.Parallel()
	s := seeded(t)
	c := open(t, s, "sh", append(narrow(t), "exec", "web")...)
	c.waitFor(`web\$ `)
	up := s.Down()
	defer up()
	c.waitFor(`\x1b\[0;7m (trying )?again in [0-9]+ s \x1b`)
	c.keys("\x04")
	c.mustEnd(255)
}

func TestNarrow_Table(t *testing.T) {
	t.Parallel()
	c := open(t, seeded(t), "sh", append(narrow(t), "clusters")...)
	c.mustEnd(0)
	c.waitFor(`(?m)^NAME: \* sandbox\r\nFROM: .*\r\nSERVER: https://127\.0\.0\.1:[0-9]+\r$`)
}

// A dumb terminal gets no escape sequences from kshell.
func TestDumbTerminal(t *testing.T) {
	t.Parallel()
	for name, set := range map[string][]string{"dumb": {"TERM=dumb"}, "not set": {"-u", "TERM"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := seeded(t)
			kshell := func(args ...string) *console {
				return open(t, s, "env", append(append(set, program(t)), args...)...)
			}
			c := kshell("exec", "deploy/web", "--all", "--", "sh", "-c", "echo x; sleep 2")
			c.waitFor(`(?s): x\r\n.*: x\r\n`)
			c.mustEnd(0)
			if text := c.all(); bytes.Contains(text, []byte("\x1b")) || bytes.Count(text, []byte(": x\r\n")) != 2 {
				t.Errorf("many pods: %q", text)
			}
			c = kshell("exec")
			c.waitFor(`number \(1 to [0-9]+, or Enter to cancel\): `)
			c.keys("\r")
			c.mustEnd(130)
			if text := c.all(); bytes.Contains(text, []byte("\x1b")) {
				t.Errorf("list: %q", text)
			}
			c = kshell("exec", "-it", "web", "--", "sh")
			c.prompt()
			up := s.Down()
			defer up()
			c.waitFor(`connection lost`)
			c.waitFor(`trying again in [0-9]+ s`)
			c.keys("\x04")
			c.mustEnd(255)
			if text := c.all(); bytes.Contains(text, []byte("\x1b")) {
				t.Errorf("shell: %q", text)
			}
		})
	}
}

func TestNoColor(t *testing.T) {
	t.Parallel()
	s, color := seeded(t), regexp.MustCompile(`\x1b\[[0-9;]*m`)
	for value, colored := range map[string]bool{"": true, "1": false} {
		args := []string{"NO_COLOR=" + value, program(t)}
		c := open(t, s, "env", append(args, "exec", "deploy/web", "--all", "--", "echo", "x")...)
		c.waitFor(`(?s) x\r\n.* x\r\n`)
		c.mustEnd(0)
		if text := c.all(); color.Match(text) != colored {
			t.Errorf("NO_COLOR=%s: many pods: %q", value, text)
		}
		c = open(t, s, "env", append(args, "exec")...)
		c.waitFor(`Esc to cancel`)
		c.keys("\x03")
		c.mustEnd(130)
		if text := c.all(); color.Match(text) != colored {
			t.Errorf("NO_COLOR=%s: list: %q", value, text)
		}
	}
}

// An operation that takes longer than a second shows a progress line, which is
// removed when the operation ends.
func TestProgress(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		slow sandbox.Fault
		args []string
		line string
	}{
		"lookup": {
			sandbox.Fault{Path: "/", Wait: 2 * time.Second, Times: 1},
			[]string{"exec", "web", "--", "true"},
			`waiting for the API server at 127\.0\.0\.1:[0-9]+`,
		},
		"list": {
			sandbox.Fault{Path: "/", Wait: 2 * time.Second, Times: 1},
			[]string{"exec", "deploy/web", "--all", "--", "true"},
			`waiting for the API server at 127\.0\.0\.1:[0-9]+`,
		},
		"start": {
			sandbox.Fault{Wait: 2 * time.Second}, []string{"exec", "web", "--", "true"}, `waiting for the command to start`,
		},
		"many pods": {
			sandbox.Fault{}, []string{"exec", "deploy/web", "--all", "--", "sleep", "2"}, `0 of 2 commands have ended`,
		},
		"folded": {
			sandbox.Fault{},
			[]string{"exec", "deploy/web", "--all", "--fold", "--", "sleep", "2"},
			`0 of 2 commands have ended`,
		},
		"sessions": {
			sandbox.Fault{Wait: 2 * time.Second}, []string{"sessions", "deploy/web"}, `asked 0 of 2 containers`,
		},
		"clusters": {
			sandbox.Fault{Path: "/version", Wait: 1500 * time.Millisecond},
			[]string{"clusters", "--check"},
			`checked [1-9] of [0-9] clusters`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := seeded(t)
			s.Inject(test.slow)
			c := open(t, s, program(t), test.args...)
			c.waitFor(`\r\x1b\[Kkshell: ` + test.line)
			c.mustEnd(0)
			c.waitFor(`\r\x1b\[K($|[^k]|kshell: there are no sessions)`) // the line is removed
		})
	}
}

// The lines of pods and the progress line do not mix.
func TestProgress_BetweenLines(t *testing.T) {
	t.Parallel()
	c := open(t, seeded(t), program(t), "exec", "deploy/web", "--all", "--", "sh", "-c",
		"for i in 1 2 3 4 5 6; do sleep 0.4; echo line$i; done")
	c.waitFor(`\x1b\[Kkshell: 0 of 2 commands have ended`)
	c.waitFor(`(?s)line6.*line6`)
	c.mustEnd(0)
	c.waitFor(`\r\x1b\[K$`)
	var text string
	for line := range strings.SplitSeq(string(c.all()), "\r\n") { // what remains of each line on the screen
		text += regexp.MustCompile(`^.*\x1b\[K`).ReplaceAllString(line, "") + "\n"
	}
	text = regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(text, "")
	if lines := regexp.MustCompile(`(?m)^web-[a-z0-9-]+: line[1-6]$`).FindAllString(text, -1); len(lines) != 12 ||
		strings.Contains(text, "ended") {
		t.Errorf("%d lines: %q", len(lines), text)
	}
}
