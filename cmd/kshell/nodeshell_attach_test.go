//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/node"
	"kshell/internal/outcome"
	"kshell/internal/sandbox"
)

// addDetachedShell adds the pod of a detached shell on node1, and returns the
// name of the pod. The parameter by is the name of the user who created the
// pod, and from is the name of that user's host.
func addDetachedShell(t *testing.T, s *sandbox.Server, by, from string, change ...func(*corev1.Pod)) string {
	t.Helper()
	p := node.Pod(node.Options{
		Node: "node1", Name: node.Name("node1"), Namespace: "default", Image: sandbox.NodeImage, Shell: true, Detached: true,
		TTL: ttlDefault, HeartbeatTimeout: node.DefaultHeartbeat, StartTimeout: time.Minute,
		CreatedBy: by, CreatedFrom: from, CreatedAt: time.Now(),
	})
	for _, f := range change {
		f(p)
	}
	if err := s.AddPod(p); err != nil {
		t.Fatal(err)
	}
	return p.Name
}

func TestAttach_HostileAnnotations(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	name := addDetachedShell(t, s, "ann\x1b[31m", "", func(p *corev1.Pod) {
		for _, key := range []string{"kshell/heartbeat", "kshell/ttl", "kshell/starts-within"} {
			p.Annotations[key] = "0s"
		}
	})
	c := open(t, s, program(t), "node-shell", "--attach", name)
	c.prompt()
	c.run("echo up''to", "upto\r\n")
	c.keys("exit 4\r")
	c.mustEnd(4)
}

// hangs makes the sandbox hang when it receives an exec request of which an
// argument contains the text in words. The parameter times is the number of
// requests that hang; 0 means all. The channel asked is closed when the first
// such request arrives.
func hangs(s *sandbox.Server, times int, words string) (asked <-chan struct{}) {
	begun := make(chan struct{})
	first := sync.OnceFunc(func() { close(begun) })
	matches := func(args []string) bool {
		if !slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, words) }) {
			return false
		}
		first()
		return true
	}
	s.Inject(sandbox.Fault{Do: sandbox.Hang, When: sandbox.AtRequest, Times: times, RefuseCommand: matches})
	return begun
}

// kshell itself runs several scripts in the pod of a node shell, by exec. Each
// of these texts is contained in only one of the scripts, so that a test can
// select the requests for that script.
const (
	heartbeatWords = `: >"$KSHELL_STATE/beat$1"`
	returnWords    = `rm -f "$KSHELL_STATE/detached"`
	markWords      = `\033_kshell %s %s`
	detachWords    = `: >"$KSHELL_STATE/detached"`
)

func TestHeartbeat_ExecHangs(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	hangs(s, 3, heartbeatWords) // so many that the user is warned
	c := open(t, s, program(t), onNode("--heartbeat", "20s")...)
	c.prompt()
	c.waitFor(`kshell: warning: no heartbeat has reached pod node-shell-node1-[a-z0-9]+ ` +
		`for [0-9]+ s \(no answer within 2s\): the pod ends after 20s without a heartbeat\r\n`)
	c.waitFor(`kshell: heartbeats reach pod node-shell-node1-[a-z0-9]+ again\r\n`)
	c.run("echo up''to", "upto\r\n")
	c.keys("exit 4\r")
	c.mustEnd(4)
}

// waitClosed waits until ch is closed.
func waitClosed(t *testing.T, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(deadline):
		t.Fatal("the channel was not closed in time")
	}
}

// --attach makes its first execs before the terminal is raw, so Ctrl-C still
// sends a signal.
func TestAttach_ExecHangs_CtrlC(t *testing.T) {
	t.Parallel()
	for name, words := range map[string]string{"heartbeat": heartbeatWords, "return": returnWords} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			pod := addDetachedShell(t, s, "ann", "laptop")
			asked := hangs(s, 0, words)
			c := open(t, s, program(t), "node-shell", "--attach", pod)
			waitClosed(t, asked)
			c.waitModes(c.before)
			c.signal(syscall.SIGINT) // a typed Ctrl-C would end the test's shell, too
			c.mustEnd(130)
			if pods := nodePods(t, s); len(pods) != 1 {
				t.Errorf("%d pods, want the one that was left running", len(pods))
			}
		})
	}
}

func TestAttach_ExecHangs(t *testing.T) {
	t.Parallel()
	for name, words := range map[string]string{"heartbeat": heartbeatWords, "return": returnWords} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			pod := addDetachedShell(t, s, "ann", "laptop")
			hangs(s, 0, words)
			c := open(t, s, "env", execLimitVariable+"=3s", program(t), "node-shell", "--attach", pod)
			c.waitFor(`kshell: cannot reach the shell in pod ` + pod + `: no answer within 3s\r\n`)
			c.mustEnd(outcome.ExitFailed)
			if pods := nodePods(t, s); len(pods) != 1 {
				t.Errorf("%d pods, want the one that was left running", len(pods))
			}
		})
	}
}

func TestDetach_ExecHangs(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	asked := hangs(s, 1, detachWords)
	c := open(t, s, "env", append([]string{execLimitVariable + "=3s", program(t)}, onNode()...)...)
	c.prompt()
	c.keys("~d")
	waitClosed(t, asked)
	c.run("echo up''to", "upto\r\n")
	c.waitFor(`kshell: warning: cannot leave the shell running: ` +
		`cannot reach the shell in pod node-shell-node1-[a-z0-9]+: no answer within 3s\r\n`)
	c.keys("\r")
	c.prompt()
	c.keys("~d")
	c.waitFor("is left running on node node1")
	c.mustEnd(0)
}

// If the server refuses to send the log after a reconnect, the session goes on
// without the output of the outage.
func TestLog_RefusedKeepsTheSession(t *testing.T) {
	t.Parallel()
	for _, code := range []int{500, 503} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			c := open(t, s, program(t), onNode("--reconnect", "always")...)
			c.run("kept=yes; echo up''to", "upto\r\n")
			c.prompt()
			s.Inject(sandbox.Fault{Path: "/log", Code: code, Body: "upstream connect error"})
			up := s.Down()
			c.waitFor("trying again in [0-9]+ s")
			up()
			c.keys("\r")
			c.waitFor(fmt.Sprintf(`kshell: warning: cannot read the container's log \(HTTP %d\): `+
				`output from [0-9:]{8} to [0-9:]{8} \([0-9]+ s\) may be missing here\r\n`, code))
			c.run("echo kept: $kept", "kept: yes\r\n")
			c.keys("exit 5\r")
			c.mustEnd(5)
			if n := len(sessionsWithTTY(s)); n != 2 {
				t.Errorf("%d connections, want 2", n)
			}
		})
	}
}

// If the log of a new shell cannot be read, the shell still shows its first
// prompt.
func TestLog_RefusedFromTheStart(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(sandbox.Fault{Path: "/log", Code: 503})
	c := open(t, s, program(t), onNode("--reconnect", "never")...)
	c.waitFor(`kshell: warning: cannot read the container's log \(HTTP 503\): earlier output may be missing\r\n`)
	c.run("echo up''to", "upto\r\n")
	c.prompt()
	c.keys("exit 5\r")
	c.mustEnd(5)
}

// If no pod is named, --attach prints the names of the pod and of its creator.
// It asks before it attaches to a pod of another user.
func TestAttach_Unnamed(t *testing.T) {
	t.Parallel()
	user, host := whoami()
	me := user + " from " + host
	const annotated = " (according to its annotations)"
	const unknown = "created by an unknown user (its annotations name none)"
	you := "; you are " + me
	answered := func(answer string) func(*console) {
		return func(c *console) {
			c.waitFor(`kshell: attach to it\? \[y/N\] `)
			c.keys(answer)
		}
	}
	refused := func(c *console, name string) {
		c.waitFor(`kshell: not attached to pod ` + name + `\r\n`)
		c.mustEnd(outcome.ExitFailed)
	}
	used := func(c *console, _ string) {
		c.prompt()
		c.run("echo up''to", "upto\r\n")
		c.keys("exit 4\r")
		c.mustEnd(4)
	}
	interrupted := func(c *console, _ string) {
		c.signal(syscall.SIGINT) // a typed Ctrl-C would end the test's shell, too
		c.mustEnd(130)
	}
	for name, tt := range map[string]struct {
		by, from string
		said     string // the message after the names of the pod and the node
		answer   func(*console)
		end      func(c *console, name string)
	}{
		"own":                  {user, host, "created by " + me + annotated, nil, used},
		"another user: n":      {"bob", host, "created by bob from " + host + annotated + you, answered("n\r"), refused},
		"another host: Enter":  {user, "b7", "created by " + user + " from b7" + annotated + you, answered("\r"), refused},
		"unknown: Ctrl-D":      {"", "", unknown + you, answered("\x04"), refused},
		"control code: Ctrl-C": {"b\x1b[2Job", "", "created by b?[2Job from an unknown host", answered(""), interrupted},
		"another user: yessir": {"bob", "", "created by bob", answered("yessir\r"), refused},
		"another user: y":      {"bob", "", "created by bob", answered("y\r"), used},
		"another user: YES":    {"bob", "", "created by bob", answered(" YES \r"), used},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			pod := addDetachedShell(t, s, tt.by, tt.from)
			c := open(t, s, program(t), "node-shell", "--attach")
			c.waitFor(`kshell: (warning: |attaching to )pod ` + pod + ` on node node1(,| was) ` + regexp.QuoteMeta(tt.said))
			if tt.answer != nil {
				tt.answer(c)
			}
			tt.end(c, pod)
			want := strings.HasSuffix(name, "y") || strings.HasSuffix(name, "YES") || name == "own"
			if n := len(sessionsWithTTY(s)); (n > 0) != want {
				t.Errorf("attached to %d times", n)
			}
		})
	}
}

func TestAttach_Named(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	pod := addDetachedShell(t, s, "bob", "build7")
	c := open(t, s, program(t), "node-shell", "--attach", pod)
	c.waitFor(`kshell: attaching to pod ` + pod + ` on node node1, ` +
		`created by bob from build7 \(according to its annotations\)\r\n`)
	c.prompt()
	c.keys("exit 4\r")
	c.mustEnd(4)
}

// Without a terminal, --attach cannot ask the user. It then attaches to the pod
// of another user only if the pod is named.
func TestAttach_UnnamedWithoutTerminal(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	pod := addDetachedShell(t, s, "bob", "build7")
	said := pathOf(t, "stderr")
	c := open(t, s, "sh", "-c", `exec "$@" 2>"$0"`, said, program(t), "node-shell", "--attach")
	c.mustEnd(outcome.ExitFailed)
	text, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"kshell: pod " + pod + " on node node1 was created by bob from build7 (according to its annotations); you are ",
		": cannot ask whether to attach to it, because stderr is not a terminal\n",
		"hint: type `kshell node-shell --attach -n default " + pod + "`\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("stderr lacks %q: %q", want, text)
		}
	}
	if n := len(sessionsWithTTY(s)); n > 0 {
		t.Error("attached to it")
	}
}

// While kshell waits for the log, a typed Ctrl-C goes to the shell. It does not
// end kshell, although it does so in other waits for the server.
func TestLog_Hangs_CtrlC(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	pod := addDetachedShell(t, s, "ann", "laptop")
	s.Inject(sandbox.Fault{Path: "/log", Do: sandbox.Hang, When: sandbox.AtRequest})
	c := open(t, s, program(t), "node-shell", "--attach", pod)
	waitSessions(t, s, func([]sandbox.Session) bool { return len(sessionsWithTTY(s)) == 1 })
	c.awaitRaw()
	c.keys("\x03")
	c.waitFor(`kshell: warning: no data from the container's log within 10s: earlier output may be missing\r\n`)
	c.prompt()
	c.run("echo up''to", "upto\r\n")
	c.keys("exit 4\r")
	c.mustEnd(4)
}

// awaitRaw waits for the terminal to be raw.
func (c *console) awaitRaw() {
	c.t.Helper()
	for end := time.Now().Add(deadline); c.modes() == c.before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatal("the terminal is not raw")
		}
	}
}

// kshell uses exec to print a mark into the output of the shell (for marks, see
// internal/node/mark.go). If that exec hangs, kshell prints another mark.
func TestMark_ExecHangs(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	hangs(s, 1, markWords)
	c := open(t, s, program(t), onNode()...)
	c.prompt()
	c.run("echo up''to", "upto\r\n")
	c.keys("exit 4\r")
	c.mustEnd(4)
	if text := c.all(); bytes.Contains(text, []byte("may be missing")) {
		t.Errorf("the stream was not joined: %q", text)
	}
}
