package main

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// The output that --attach shows again may contain queries of a program that has
// ended. The answers of the terminal do not reach the shell.
func TestAttach_OldQueries(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	flags := resumeArgs(t)
	c := open(t, s, program(t), append(flags, "-it", "web", "--", "sh")...)
	c.prompt()
	c.run(`printf '\033[6n'; echo que''ried`, "queried\r\n")
	c.enter()
	escape(c, 'd')
	c.waitFor("kshell: detached: session ")
	c.mustEnd(0)
	id := regexp.MustCompile("detached: session ([0-9a-z]+) continues").FindSubmatch(c.all())
	if id == nil {
		t.Fatalf("no ID: %q", c.all())
	}

	c = open(t, s, program(t), "exec", "--attach", flags[2], flags[3], "web", string(id[1]))
	answered := c.answer()
	select {
	case <-answered:
	case <-time.After(deadline):
		t.Fatalf("the terminal gets no query: %q", c.all())
	}
	c.enter()
	c.run("echo do''ne", "done\r\n")
	if got := string(c.all()); strings.Contains(got, "^[[") {
		t.Errorf("the shell got answers to the queries of another program: %q", got)
	}
	c.keys("exit 5\r")
	c.mustEnd(5)
}
