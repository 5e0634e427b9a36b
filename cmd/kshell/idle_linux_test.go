package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"kshell/internal/agentbin"
	"kshell/internal/sandbox"
)

// The setting record-notice is printed once, before the session, even with -q.
func TestRecordNotice(t *testing.T) {
	t.Parallel()
	s := runSandbox(t, sandbox.Config{})
	for _, test := range []struct{ setting, args, text string }{
		{"true", "exec -q web", "sessions in this context are recorded"},
		{"The gateway records this session.", "exec web", "The gateway records this session."},
		{"see policy\n7", "node-shell -q node2", "see policy 7"},
	} {
		c := open(t, s, "env",
			append([]string{"KSHELL_RECORD_NOTICE=" + test.setting, program(t)}, strings.Fields(test.args)...)...)
		c.waitFor("kshell: " + test.text + `\r\n`)
		c.waitFor(`[$#] `)
		c.keys("exit 3\r")
		c.mustEnd(3)
		if n := strings.Count(string(c.all()), test.text); n != 1 {
			t.Errorf("%s: printed %d times", test.setting, n)
		}
	}
	// A command without a terminal is not a session.
	settings := writeFile(t, "settings", "record-notice: true\n", 0o600)
	c := open(t, s, "env", "KSHELL_CONFIG="+settings, program(t), "exec", "web", "--", "echo", "done")
	c.waitFor("done\r\n")
	c.mustEnd(0)
	if strings.Contains(string(c.all()), "recorded") {
		t.Error("printed for a command without a terminal")
	}
}

// A shell in which no key is typed ends with exit code 255, even if the command
// writes output. The terminal is restored, and the remote shell ends.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	file := pathOf(t, "status")
	c := open(t, s, program(t), "exec", "-it", "--idle-timeout", "3s", "--status-file", file, "web", "--", "sh", "-c",
		"while :; do echo out''put; sleep 0.1; done")
	c.waitFor("output\r\n")
	c.waitFor(`kshell: warning: the session ends in 1 s, unless you type a key \(--idle-timeout\)\r\n`)
	c.waitFor(`kshell: no key was typed for 3s \(--idle-timeout\)\r\n`)
	c.mustEnd(255)
	c.waitModes(c.before)
	record, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(record), `"exitCode":255,"cause":"idle"`) {
		t.Errorf("status record %s (%v)", record, err)
	}
	waitOnlyMain(t, s)
}

func TestIdleTimeout_KeyTyped(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "--idle-timeout", "40s", "web")
	c.prompt()
	c.run("echo one''two", "onetwo\r\n")
	c.prompt()
	c.keys("exit 3\r")
	c.mustEnd(3)
}

// A session of the session agent is left running.
func TestIdleTimeout_Resume(t *testing.T) {
	t.Parallel()
	if agentbin.BuildID() == "" {
		t.Skip("kshell contains no session agents")
	}
	s := startSandbox(t)
	dir := t.TempDir()
	c := open(t, s, program(t), "exec", "--resume=always", "--resume-dir", dir, "--idle-timeout", "5s", "web")
	c.prompt()
	c.waitFor(`kshell: no key was typed for 5s \(--idle-timeout\); the command continues in session \w+\r\n`)
	c.mustEnd(255)
	out := open(t, s, program(t), "sessions", "--resume-dir", dir, "web")
	out.waitFor(` detached `)
	out.mustEnd(0)
	c = open(t, s, program(t), "exec", "--attach", "--resume-dir", dir, "web")
	c.waitFor(`[$#] `)
	c.keys("exit 6\r")
	c.mustEnd(6)
}

// The pod of a node shell is deleted.
func TestIdleTimeout_NodeShell(t *testing.T) {
	t.Parallel()
	s := runSandbox(t, sandbox.Config{})
	settings := writeFile(t, "settings", "idle-timeout: 5s\n", 0o600)
	c := open(t, s, "env", "KSHELL_CONFIG="+settings, program(t), "node-shell", "node2")
	c.waitFor(`[$#] `)
	c.waitFor(`kshell: no key was typed for 5s \(--idle-timeout\)\r\n`)
	c.mustEnd(255)
	for begin := time.Now(); !strings.Contains(kshell(t, s, 0, "node-shell", "list"), "there are no node shells"); {
		if time.Since(begin) > deadline {
			t.Fatal("the pod of the node shell was not deleted")
		}
	}
}
