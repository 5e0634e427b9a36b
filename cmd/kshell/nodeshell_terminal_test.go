//go:build unix

package main

import (
	"bytes"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/cleanup"
	"kshell/internal/kubeconfig"
	"kshell/internal/node"
	"kshell/internal/outcome"
	"kshell/internal/sandbox"
	"kshell/internal/terminal"
)

// nodePods returns the pods of node shells in a sandbox, except those that are
// being deleted.
func nodePods(t *testing.T, s *sandbox.Server) []corev1.Pod {
	t.Helper()
	target, err := (&kubeconfig.Flags{Kubeconfig: s.Kubeconfig()}).Load()
	if err != nil {
		t.Fatal(err)
	}
	client, err := node.NewClient(target.Config, nil)
	if err != nil {
		t.Fatal(err)
	}
	pods, err := client.Pods(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// onNode returns the command line of a shell on a node of the sandbox.
func onNode(more ...string) []string {
	return append([]string{"node-shell", "--image", sandbox.NodeImage, "node1"}, more...)
}

// However kshell ends, the pod is deleted and the terminal is restored.
func TestNodeShell_PodDeletedAtEveryEnd(t *testing.T) {
	t.Parallel()
	killed := func(by syscall.Signal) func(*console) { return func(c *console) { c.signal(by) } }
	typed := func(keys string) func(*console) { return func(c *console) { c.keys(keys) } }
	for name, c := range map[string]struct {
		end  func(*console)
		code int
	}{
		"exit":                {typed("exit 3\r"), 3},
		"Ctrl-D":              {typed("\x04"), 0},
		"the shell is killed": {typed("kill -9 $$\r"), 137},
		"~.":                  {typed("~."), 255},
		"INT":                 {killed(syscall.SIGINT), 130},
		"TERM":                {killed(syscall.SIGTERM), 143},
		"HUP":                 {killed(syscall.SIGHUP), 129},
		"QUIT":                {killed(syscall.SIGQUIT), 131},
		"a panic":             {typed("P"), outcome.ExitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := program(t)
			if name == "a panic" {
				path = panicking(t)
			}
			s := startSandbox(t)
			w := open(t, s, path, onNode()...)
			w.run("echo up''to", "upto\r\n")
			w.prompt()
			w.mustBeRaw()
			if pods := nodePods(t, s); len(pods) != 1 {
				t.Fatalf("%d pods", len(pods))
			}
			c.end(w)
			w.mustEnd(c.code)
			if pods := nodePods(t, s); len(pods) != 0 {
				t.Errorf("pod %s is left", pods[0].Name)
			}
		})
	}
}

func TestNodeShell_SameShellAfterServerRestart(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), onNode()...)
	c.run("kept=yes; echo up''to", "upto\r\n")
	c.prompt()
	up := s.Down()
	c.waitFor("trying again in [0-9]+ s")
	up()
	c.keys("\r")
	c.waitFor("connected again after [0-9]+ s: the same shell\r\n")
	c.run("echo kept: $kept", "kept: yes\r\n")
	waitSessions(t, s, func([]sandbox.Session) bool { // kshell changes the size and restores it, to redraw the screen
		sizes := sessionsWithTTY(s)[1].Sizes
		return len(sizes) == 3 && sizes[2] == sandbox.Size{Width: termColumns, Height: termRows}
	})
	c.run("stty size", "24 80\r\n")
	c.keys("exit 5\r")
	c.mustEnd(5)
}

// If the server is gone, kshell warns in time that the pod could not be
// deleted.
func TestNodeShell_PodCannotBeDeleted(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), onNode()...)
	c.prompt()
	goDown(c, s)
	begin := time.Now()
	c.keys("\x04")
	c.waitFor(`(?s)kshell: warning: pod node-shell-node1-[a-z0-9]+ in namespace default could not be deleted: ` +
		`.* the pod ends 5m0s after the last heartbeat`)
	c.mustEnd(255)
	if took := time.Since(begin); took > cleanup.Timeout+deadline/2 {
		t.Errorf("it took %v", took)
	}
}

// If the server does not answer while kshell deletes the pod, kshell prints
// what it waits for, and Ctrl-D ends the wait. The user's local shell must not
// read this Ctrl-D.
func TestNodeShell_LeaveWhilePodIsDeleted(t *testing.T) {
	t.Parallel()
	if !terminal.ReportsEOF {
		t.Skip("on this system, only Ctrl-C ends the wait")
	}
	s := startSandbox(t)
	c := open(t, s, "env", append([]string{shortLimits + "=1", program(t)}, onNode()...)...)
	c.prompt()
	s.Inject(sandbox.Fault{Path: "/pods/node-shell-", Wait: time.Hour})
	c.keys("~.")
	c.waitFor(`kshell: waiting for the API server to delete pod node-shell-node1-[a-z0-9]+ ` +
		`\(up to 10s, Ctrl-D: quit\)\r\n`)
	c.keys("\x04")
	c.waitFor(`kshell: warning: pod node-shell-node1-[a-z0-9]+ in namespace default could not be deleted: ` +
		`kshell was left before the server answered; the pod ends 5m0s after the last heartbeat`)
	c.mustEnd(255)
}

// If a goroutine for which the session does not wait panics, kshell deletes the
// pod before the panic ends the process.
func TestNodeShell_PodDeletedAfterPanic(t *testing.T) {
	t.Parallel()
	path := panicking(t)
	s := startSandbox(t)
	s.Inject(sandbox.Fault{Path: "/exec", Code: 403, Body: "no"})
	c := open(t, s, path, onNode()...)
	c.waitFor(atLineStart("panic: test: stderr"))
	c.mustEnd(outcome.ExitFailed)
	if pods := nodePods(t, s); len(pods) != 0 {
		t.Errorf("pod %s is left", pods[0].Name)
	}
}

// If the server refuses exec, kshell cannot print marks into the output of the
// shell (for marks, see internal/node/mark.go). It then shows the output of the
// stream as it is.
func TestMark_ExecRefused(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(sandbox.Fault{Path: "/exec", Code: 403, Body: "no"})
	c := open(t, s, program(t), onNode()...)
	c.waitFor("kshell: output from before this connection may be missing; press Enter for a prompt\r\n")
	c.run("echo up''to", "upto\r\n")
	c.keys("exit 4\r")
	c.mustEnd(4)
	if pods := nodePods(t, s); len(pods) != 0 {
		t.Errorf("pod %s is left", pods[0].Name)
	}
}

func TestNodeShell_PodDeletedDuringSession(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), onNode()...)
	c.prompt()
	if err := s.DeletePod("default", nodePods(t, s)[0].Name, 0); err != nil {
		t.Fatal(err)
	}
	c.waitFor(regexp.QuoteMeta("kshell: the pod of the shell was deleted"))
	c.mustEnd(255)
}

func TestNodeShell_ChooseNode(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "node-shell", "--image", sandbox.NodeImage)
	c.waitFor(`nodes \(2 of 2\)`)
	c.waitFor(`NAME +STATUS +ROLES +VERSION +AGE`)
	c.waitFor(`node2 +Ready +worker +v1\.37\.2`)
	c.keys("node2\r")
	c.prompt()
	if pods := nodePods(t, s); len(pods) != 1 || pods[0].Spec.NodeName != "node2" {
		t.Errorf("pods %v", pods)
	}
	c.keys("exit 6\r")
	c.mustEnd(6)
}

func TestDetach_EscapeKey(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), onNode()...)
	c.run("kept=yes; echo up''to", "upto\r\n")
	c.prompt()
	c.keys("~?")
	c.waitFor("~d leave it running")
	c.waitFor("~. end the shell and delete its pod, unless other clients are attached")
	c.keys("~d")
	c.waitFor("is left running on node node1")
	c.mustEnd(0)
	again := open(t, s, program(t), "node-shell", "--attach")
	again.waitFor("upto\r\n") // printed before the shell was left
	again.run("echo kept: $kept", "kept: yes\r\n")
	again.keys("exit 8\r")
	again.mustEnd(8)
	const logged = "the shell's output is written to the container's log"
	if n, other := bytes.Count(c.all(), []byte(logged)), bytes.Count(again.all(), []byte(logged)); n != 1 || other != 0 {
		t.Errorf("the note about the log was printed %d times, and with --attach %d times; want 1 and 0", n, other)
	}
	if pods := nodePods(t, s); len(pods) != 0 {
		t.Errorf("pod %s is left", pods[0].Name)
	}
}

func TestAttach_NoSuchPod(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "node-shell", "--attach", "no-such-pod")
	c.waitFor(`kshell: pod "no-such-pod" does not exist in namespace "default"\r\n` +
		`hint: type .kshell node-shell list -A.\r\n`)
	c.mustEnd(outcome.ExitFailed)
}
