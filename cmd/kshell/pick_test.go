//go:build unix

package main

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/sandbox"
)

// twoContainers adds the pod pair, which has the containers one and two.
func twoContainers(t *testing.T, s *sandbox.Server) {
	t.Helper()
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "one"}, {Name: "two"}}}}
	p.Name = "pair"
	p.Labels = map[string]string{"app": "pair"}
	if err := s.AddPod(p); err != nil {
		t.Fatal(err)
	}
}

// listClosed waits until the list has left the alternate screen.
func (c *console) listClosed() {
	c.t.Helper()
	c.waitFor(`\x1b\[\?1049l`)
}

// wantRunsIn checks that at least one command ran, and that all commands ran in
// the given container. The parameter name is the name of the pod.
func wantRunsIn(t *testing.T, s *sandbox.Server, name, container string) {
	t.Helper()
	all := s.Sessions()
	if len(all) == 0 {
		t.Error("no command was run")
	}
	for _, x := range all {
		if got := x.Query.Get("container"); !strings.HasSuffix(x.Path, "/pods/"+name+"/exec") || got != container {
			t.Errorf("ran in %s of %s, want %s of %s", got, x.Path, container, name)
		}
	}
}

func TestPick_NoPodNamed(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec")
	c.waitFor("NAME +READY +STATUS +RESTARTS +AGE")
	c.waitFor("(?s)noshell.*web")
	c.mustBeRaw()
	c.keys("wEb\r")
	c.listClosed()
	c.prompt()
	c.run("echo one''two", "onetwo\r\n")
	c.keys("exit 3\r")
	c.mustEnd(3)
	wantRunsIn(t, s, "web", "web")
}

func TestPick_ArrowKeys(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "--", "sh", "-c", "echo he''re")
	c.waitFor("> noshell")
	c.keys("\x1b[B")
	c.waitFor("> ?web")
	c.keys("\r")
	c.waitFor("here\r\n")
	c.mustEnd(0)
	wantRunsIn(t, s, "web", "web")
}

func TestPick_Cancel(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"Esc": "\x1b", "Ctrl-C": "\x03", "Ctrl-D": "\x04"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			c := open(t, s, program(t), "exec")
			c.waitFor("> noshell")
			c.keys(key)
			c.listClosed()
			c.mustEnd(130)
			if text := c.all(); bytes.Contains(text[c.seen:], []byte("kshell: ")) {
				t.Errorf("message %q", text[c.seen:])
			}
			if all := s.Sessions(); len(all) > 0 {
				t.Errorf("ran %+v", all)
			}
		})
	}
}

func TestPick_Signal(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec")
	c.waitFor("> noshell")
	c.signal(syscall.SIGTERM)
	c.listClosed()
	c.mustEnd(143)
}

func TestPick_SeveralContainers(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	twoContainers(t, s)
	c := open(t, s, program(t), "exec", "--", "sh", "-c", "echo he''re")
	c.waitFor("> noshell")
	c.keys("pair\r")
	c.listClosed()
	c.waitFor("containers of pod pair")
	c.waitFor("> one")
	c.keys("two\r")
	c.listClosed()
	c.waitFor("kshell: you chose pod pair, container two\r\n")
	c.waitFor("here\r\n")
	c.mustEnd(0)
	wantRunsIn(t, s, "pair", "two")
}

func TestPick_ContainerNamed(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	twoContainers(t, s)
	c := open(t, s, program(t), "exec", "-c", "two", "--", "sh", "-c", "echo he''re")
	c.waitFor("> ")
	c.keys("pair\r")
	c.waitFor("here\r\n")
	c.mustEnd(0)
	wantRunsIn(t, s, "pair", "two")
}

func TestPick_OneMatch(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	twoContainers(t, s)
	for _, which := range []string{"pod/web", "-lapp=pair"} {
		c := open(t, s, program(t), "exec", "--pick", which, "--", "sh", "-c", "echo he''re")
		c.waitFor("here\r\n")
		c.mustEnd(0)
		if bytes.Contains(c.all(), []byte("search:")) {
			t.Errorf("%s: a list was shown", which)
		}
	}
}

func TestPick_StderrRedirected(t *testing.T) {
	t.Parallel()
	stderr := pathOf(t, "err")
	c := open(t, startSandbox(t), "sh", "-c", `kshell exec -- sh -c 'echo he""re' 2>"$1"`, "sh", stderr)
	c.waitFor("> noshell") // written to /dev/tty
	c.keys("web\r")
	c.waitFor("here\r\n")
	c.mustEnd(0)
	const want = "kshell: you chose pod web, container web\n"
	if written, err := os.ReadFile(stderr); err != nil || string(written) != want {
		t.Errorf("stderr %q, %v, want %q", written, err, want)
	}
}

func TestPick_DumbTerminal(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, "env", "TERM=dumb", program(t), "exec", "--", "sh", "-c", "echo he''re")
	c.waitFor(`  1\) noshell .*\r\n  2\) web .*\r\nnumber \(1 to 2, or Enter to cancel\): `)
	c.keys("99\r")
	c.waitFor(`kshell: "99" is not a number from 1 to 2\r\nnumber \(1 to 2, or Enter to cancel\): `)
	c.keys("x\r")
	c.waitFor(`kshell: "x" is not a number from 1 to 2\r\nnumber \(1 to 2, or Enter to cancel\): `)
	c.keys("2\r")
	c.waitFor("kshell: you chose pod web, container web\r\n")
	c.waitFor("here\r\n")
	c.mustEnd(0)
	if bytes.ContainsRune(c.all(), '\x1b') {
		t.Errorf("escape sequences: %q", c.all())
	}
	wantRunsIn(t, s, "web", "web")

	for _, key := range []string{"\r", "\x03", "\x04"} {
		c := open(t, s, "env", "TERM=dumb", program(t), "exec", "--", "ls")
		c.waitFor("cancel\\): ")
		if key == "\x03" { // a typed Ctrl-C would end the test's own shells, too
			c.signal(syscall.SIGINT)
		} else {
			c.keys(key)
		}
		c.mustEnd(130)
	}
}

func TestPick_NoColor(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), "env", "NO_COLOR=1", program(t), "exec")
	c.waitFor("> noshell")
	c.keys("\x1b")
	c.mustEnd(130)
	if bytes.Contains(c.all(), []byte("36m")) {
		t.Errorf("colors: %q", c.all())
	}
}

// The list sends no queries to the terminal, because a late answer would be
// typed into the shell.
func TestPick_NoTerminalQueries(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec")
	c.waitFor("> noshell")
	c.keys("\x1b")
	c.mustEnd(130)
	for _, query := range []string{"\x1b[?u", "$p", "\x1b[c", "\x1b[6n", "\x1b]11;?"} {
		if bytes.Contains(c.all(), []byte(query)) {
			t.Errorf("query %q", query)
		}
	}
}

func TestPick_ListForbidden(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "--token", s.Token("none"))
	c.waitFor(`(?m)^kshell: .*(cannot list|forbidden|list).*pods`)
	c.mustEnd(255)
	if bytes.Contains(c.all(), []byte("search:")) {
		t.Error("a list was shown")
	}
}
