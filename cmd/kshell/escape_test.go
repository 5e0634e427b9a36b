//go:build unix

package main

import (
	"strings"
	"syscall"
	"testing"

	"kshell/internal/outcome"
	"kshell/internal/sandbox"
)

func TestEscapeKeys(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "web")
	c.prompt()
	c.keys("~?")
	c.waitFor("(?m)^kshell: ~\\. leave\r\n")
	c.waitFor("(?m)^kshell: ~~ the character itself\r\n")
	c.keys("~i")
	c.waitFor("(?m)^kshell: pod web, container web, namespace default\r\n")
	c.waitFor("(?m)^kshell: connected to https://.* by v5.channel.k8s.io, round trip [0-9.]+[mµu]?s\r\n" +
		"(?s).* connections lost: 0\r\n")
	c.keys("\r")
	c.prompt()
	c.run("echo ~~.", "~~\\.\r\n") // not at the beginning of a line
	c.prompt()
	c.run("mine=old", "mine=old\r\n")
	c.keys("~R")
	c.waitFor("kshell: connected again after [0-9]+ s: this is a new shell\r\n")
	c.prompt()
	c.run(`echo "[$mine]"`, `\[\]\r\n`)
	c.prompt()
	c.keys("sleep 1000\r")
	c.waitFor("sleep 1000\r\n") // otherwise kshell may read both lines at once, like a paste
	c.keys("~.")
	c.waitFor("(?m)^(\x1b\\[[?0-9;]*[lm])*kshell: session left\r\n") // kshell may have to reset modes of the terminal
	c.mustEnd(outcome.ExitFailed)
	waitSessions(t, s, func(all []sandbox.Session) bool {
		for _, x := range all {
			if !x.Exited {
				return false
			}
		}
		return true
	})
}

// After a lost connection, kshell recognizes the escape character even if a
// line was incomplete.
func TestEscapeKeys_LossInTheMiddleOfALine(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "web")
	c.prompt()
	c.keys("half")
	c.waitFor("half")
	s.Down()
	c.waitFor("trying again in [0-9]+ s")
	c.keys("~i")
	c.waitFor("(?m)^kshell: disconnected from ")
	c.keys("~.")
	c.waitFor("(?m)kshell: session left\r\n")
	c.mustEnd(outcome.ExitFailed)
}

func TestEscapeKeys_AnotherCharacterOrNone(t *testing.T) {
	t.Parallel()
	for escape, typed := range map[string]string{"none": "~.\r", "%": "~.\r"} {
		c := open(t, startSandbox(t), program(t), "exec", "--escape-char", escape, "web")
		c.prompt()
		c.keys(typed)
		c.waitFor("not found|[Pp]ermission|[Ii]s a directory") // the shell's error for the command ~.
		c.prompt()
		c.keys("exit\r")
		c.waitFor("exit")
	}
}

// After SIGCONT, the terminal is raw again.
func TestShell_Continued(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec", "web")
	c.prompt()
	raw := c.modes()
	c.signal(syscall.SIGSTOP)
	c.stty("icanon", "echo", "isig", "opost") // as a shell does when it gets the terminal back
	c.signal(syscall.SIGCONT)
	c.waitModes(raw)
	c.run("echo a''b", "ab\r\n")
	c.prompt()
	c.keys("exit\r")
	c.mustEnd(0)
}

func TestShellReconnect_TerminalModesReset(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "web")
	c.prompt()
	c.run(`printf '\033[?1049h\033[?25l\033[?1000h'; echo edit''ing`, "editing\r\n")
	undo := s.Down()
	c.waitFor("trying again in")
	undo()
	c.keys("\r")
	c.waitFor("this is a new shell\r\n")
	all := string(c.all())
	if want := "\x1b[?1000l\x1b[?25h\x1b[?1049l\x1b[m"; !strings.Contains(all, want) {
		t.Errorf("modes are not reset: %q", all)
	}
	c.prompt()
	c.keys("exit\r")
	c.mustEnd(0)
}
