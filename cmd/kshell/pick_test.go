//go:build unix

package main

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"kshell/internal/pod"
	"kshell/internal/sandbox"
)

// twoContainers adds a pod, pair, with the containers one and two.
func twoContainers(t *testing.T, s *sandbox.Server) {
	t.Helper()
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "one"}, {Name: "two"}}}}
	p.Name = "pair"
	p.Labels = map[string]string{"app": "pair"}
	if err := s.AddPod(p); err != nil {
		t.Fatal(err)
	}
}

// leftList waits until the list is gone from the screen.
func (c *console) leftList() {
	c.t.Helper()
	c.await(`\x1b\[\?1049l`)
}

// mustHaveRunIn makes sure that everything ran in one container.
func mustHaveRunIn(t *testing.T, s *sandbox.Server, name, container string) {
	t.Helper()
	all := s.Sessions()
	if len(all) == 0 {
		t.Error("nothing has run")
	}
	for _, x := range all {
		if got := x.Query.Get("container"); !strings.HasSuffix(x.Path, "/pods/"+name+"/exec") || got != container {
			t.Errorf("ran in %s of %s, want %s of %s", got, x.Path, container, name)
		}
	}
}

func TestAPodIsChosenFromTheListWhereNoneIsNamed(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec")
	c.await("NAME +READY +STATUS +RESTARTS +AGE")
	c.await("(?s)noshell.*web")
	c.mustBeRaw()
	c.keys("wEb\r")
	c.leftList()
	c.prompt()
	c.run("echo one''two", "onetwo\r\n")
	c.keys("exit 3\r")
	c.mustEnd(3)
	mustHaveRunIn(t, s, "web", "web")
}

func TestArrowsMoveInTheList(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "--", "sh", "-c", "echo he''re")
	c.await("> noshell")
	c.keys("\x1b[B")
	c.await("> ?web")
	c.keys("\r")
	c.await("here\r\n")
	c.mustEnd(0)
	mustHaveRunIn(t, s, "web", "web")
}

func TestWhoLeavesTheListHasRunNothing(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"Esc": "\x1b", "Ctrl-C": "\x03", "Ctrl-D": "\x04"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			c := open(t, s, program(t), "exec")
			c.await("> noshell")
			c.keys(key)
			c.leftList()
			c.mustEnd(130)
			if text := c.all(); bytes.Contains(text[c.seen:], []byte("kshell: ")) {
				t.Errorf("said %q", text[c.seen:])
			}
			if all := s.Sessions(); len(all) > 0 {
				t.Errorf("ran %+v", all)
			}
		})
	}
}

func TestASignalEndsTheList(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec")
	c.await("> noshell")
	c.signal(syscall.SIGTERM)
	c.leftList()
	c.mustEnd(143)
}

func TestOfSeveralContainersOneIsChosenToo(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	twoContainers(t, s)
	c := open(t, s, program(t), "exec", "--", "sh", "-c", "echo he''re")
	c.await("> noshell")
	c.keys("pair\r")
	c.leftList()
	c.await("a container of pod pair")
	c.await("> one")
	c.keys("two\r")
	c.leftList()
	c.await("here\r\n")
	c.mustEnd(0)
	mustHaveRunIn(t, s, "pair", "two")
}

func TestANamedContainerIsNotAskedFor(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	twoContainers(t, s)
	c := open(t, s, program(t), "exec", "-c", "two", "--", "sh", "-c", "echo he''re")
	c.await("> ")
	c.keys("pair\r")
	c.await("here\r\n")
	c.mustEnd(0)
	mustHaveRunIn(t, s, "pair", "two")
}

func TestOneMatchIsNotAskedFor(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	twoContainers(t, s)
	for _, which := range []string{"pod/web", "-lapp=pair"} {
		c := open(t, s, program(t), "exec", "--pick", which, "--", "sh", "-c", "echo he''re")
		c.await("here\r\n")
		c.mustEnd(0)
		if bytes.Contains(c.all(), []byte("search:")) {
			t.Errorf("%s: there was a list", which)
		}
	}
}

func TestTheListIsNotDrawnOnStdout(t *testing.T) {
	t.Parallel()
	stderr := pathOf(t, "err")
	c := open(t, startSandbox(t), "sh", "-c", `kshell exec -- sh -c 'echo he""re' 2>"$1"`, "sh", stderr)
	c.await("> noshell") // on the terminal itself
	c.keys("web\r")
	c.await("here\r\n")
	c.mustEnd(0)
	if said, err := os.ReadFile(stderr); err != nil || len(said) > 0 {
		t.Errorf("said %q, %v", said, err)
	}
}

func TestATerminalOfLinesGetsNumbers(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, "env", "TERM=dumb", program(t), "exec", "--", "sh", "-c", "echo he''re")
	c.await(`  1\) noshell .*\r\n  2\) web .*\r\nnumber \(1 to 2; none: leave\): `)
	c.keys("7\r")
	c.await(`number \(1 to 2; none: leave\): `)
	c.keys("2\r")
	c.await("here\r\n")
	c.mustEnd(0)
	if bytes.ContainsRune(c.all(), '\x1b') {
		t.Errorf("escape sequences: %q", c.all())
	}
	mustHaveRunIn(t, s, "web", "web")

	for _, leave := range []string{"\r", "\x03", "\x04"} {
		c := open(t, s, "env", "TERM=dumb", program(t), "exec", "--", "ls")
		c.await("leave\\): ")
		if leave == "\x03" { // typed, it would end the test's own shells, too
			c.signal(syscall.SIGINT)
		} else {
			c.keys(leave)
		}
		c.mustEnd(130)
	}
}

func TestNoColorIsHeededInTheList(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), "env", "NO_COLOR=1", program(t), "exec")
	c.await("> noshell")
	c.keys("\x1b")
	c.mustEnd(130)
	if bytes.Contains(c.all(), []byte("36m")) {
		t.Errorf("coloured: %q", c.all())
	}
}

// What a terminal answers late would be typed into the shell.
func TestTheListAsksTheTerminalNothing(t *testing.T) {
	t.Parallel()
	c := open(t, startSandbox(t), program(t), "exec")
	c.await("> noshell")
	c.keys("\x1b")
	c.mustEnd(130)
	for _, question := range []string{"\x1b[?u", "$p", "\x1b[c", "\x1b[6n", "\x1b]11;?"} {
		if bytes.Contains(c.all(), []byte(question)) {
			t.Errorf("asks %q", question)
		}
	}
}

func TestWhoMayNotListPodsIsToldTheRule(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "--token", s.Token("none"))
	c.await(`(?m)^kshell: .*(cannot list|forbidden|list).*pods`)
	c.mustEnd(255)
	if bytes.Contains(c.all(), []byte("search:")) {
		t.Error("there was a list")
	}
}

func TestAListIsCleanAndFits(t *testing.T) {
	evil := &corev1.Pod{Status: corev1.PodStatus{Phase: hostile}}
	evil.Name = "a" + hostile
	long := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: hostile}, {Name: "b"}}}}
	long.Name = strings.Repeat("long-", 40) + "end"
	pods, m := podMenu("default", []pod.Found{{Pod: long}}, []pod.Skipped{{Pod: evil}}, time.Now())
	if len(pods) != 2 || pods[0] != long {
		t.Fatalf("pods %v", pods)
	}
	_, inner := containerMenu(long)
	for _, list := range []menu{m, inner} {
		for _, row := range list.rows {
			for _, cell := range row {
				if strings.ContainsAny(cell, "\x1b\a\n\r\x00\u202e\u009b") {
					t.Errorf("cell %q", cell)
				}
			}
		}
	}
	m.rows = m.rows[:1]
	_, rows := m.lines(60)
	if diff := cmp.Diff([]string{"long-long-long…-long-long-end  0/2    Running  0         ?"}, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestTheListFollowsWhatIsTyped(t *testing.T) {
	m := menu{header: []string{"NAME", "STATUS"}}
	for _, name := range []string{"api-1", "api-2", "web-1"} {
		m.rows = append(m.rows, []string{name, "Running"})
	}
	for typed, want := range map[string][]int{"": {0, 1, 2}, "api": {0, 1}, "1 RUN": {0, 2}, "2 web": nil, "x": nil} {
		l := newList(m, 40, 6, false)
		l.typed = []rune(typed)
		l.search()
		if diff := cmp.Diff(want, l.shown); diff != "" {
			t.Errorf("%q (-want +got):\n%s", typed, diff)
		}
	}
	m.first = 2
	l := newList(m, 40, 6, false) // two rows fit
	if view := l.View().Content; !strings.Contains(view, "> web-1") || strings.Contains(view, "api-1") {
		t.Errorf("the proposed row is not in sight:\n%s", view)
	}
}
