//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kshell/internal/agent"
)

// container is a PID namespace whose PID 1 does not wait for its children.
type container struct {
	t   *testing.T
	pid int // of PID 1, outside the namespace
}

func newContainer(t *testing.T) *container {
	t.Helper()
	cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", "echo 1; exec sleep 1000")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no PID namespace: %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, err := fmt.Fscan(stdout, new(int)); err != nil {
		t.Skipf("no PID namespace: %v, %s", err, stderr.String())
	}
	children := childrenOf(cmd.Process.Pid)
	if len(children) != 1 {
		t.Fatalf("unshare has the children %v", children)
	}
	return &container{t, children[0].pid}
}

// command returns a command that runs in the container. Its parent is outside, as
// that of an exec.
func (c *container) command(argv ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", strconv.Itoa(c.pid), "-p", "-m"}, argv...)...)
}

// killRelay kills the newest relay of a session in a container. The process of the
// session is that of nsenter.
func (s *session) killRelay() {
	for _, child := range childrenOf(s.relay.cmd.Process.Pid) {
		syscall.Kill(child.pid, syscall.SIGKILL)
	}
	<-s.relay.done
}

// serverInContainer returns the process ID of the agent, as seen from outside. The
// first relay runs.
func (s *session) serverInContainer() int {
	s.t.Helper()
	pid := s.relay.cmd.Process.Pid
	for range 2 { // nsenter, relay, agent
		children := childrenOf(pid)
		if len(children) != 1 {
			s.t.Fatalf("process %d has the children %v", pid, children)
		}
		pid = children[0].pid
	}
	return pid
}

type process struct {
	pid    int
	name   string // in parentheses
	zombie bool
}

func childrenOf(parent int) []process {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	var found []process
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		end := bytes.LastIndexByte(stat, ')') + 1
		fields := strings.Fields(string(stat[end:]))
		if fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			_, name, _ := strings.Cut(string(stat[:end]), " ")
			found = append(found, process{pid, name, fields[0] == "Z"})
		}
	}
	return found
}

// checkChildren waits until PID 1 has no children that run, and checks the number of
// its zombies.
func (c *container) checkChildren(zombies int) {
	c.t.Helper()
	var children []process
	eventually(c.t, "all processes have ended", func() bool {
		children = childrenOf(c.pid)
		for _, child := range children {
			if !child.zombie {
				return false
			}
		}
		return true
	})
	if len(children) > zombies {
		c.t.Errorf("PID 1 has the zombies %v, want at most %d", children, zombies)
	}
}

// PID 1 of many containers does not wait for processes that it has not started. Each
// session then leaves at most one zombie: the agent, if its first relay has ended
// before. The jobs of the command leave none.
func TestAgent_PID1DoesNotReap(t *testing.T) {
	const jobs = `for i in 1 2 3 4 5; do (sleep 0.01 & sleep 0.02 &); done; `
	start := func(t *testing.T, c *container, args ...string) *session {
		s := newSession(t, agentDir(t), 1)
		s.inContainer = c
		s.start(args...)
		s.until("attached", func() bool { return s.welcome != nil })
		return s
	}
	t.Run("the first relay is there until the end", func(t *testing.T) {
		c := newContainer(t)
		s := start(t, c, "stdin=1", "--", "sh", "-c", jobs+"read x")
		server := s.serverInContainer()
		eventually(t, "the agent has reaped the jobs", func() bool { return len(childrenOf(server)) == 1 })
		s.typeText("\n")
		s.exit()
		<-s.relay.done
		c.checkChildren(0)
	})
	t.Run("the first relay has ended", func(t *testing.T) {
		c := newContainer(t)
		s := start(t, c, "tty=1", "--", "sh", "-c", jobs+"echo ready; read x")
		s.untilOutput("ready")
		server := s.serverInContainer()
		s.killRelay()
		s.attach()
		eventually(t, "the agent has reaped the jobs", func() bool { return len(childrenOf(server)) == 1 })
		s.typeText("\n")
		s.exit()
		<-s.relay.done
		c.checkChildren(1)
	})
	t.Run("the session is ended", func(t *testing.T) {
		c := newContainer(t)
		s := start(t, c, "--", "sh", "-c",
			"for i in 1 2 3 4 5 6 7 8 9; do (sleep 1000 &); done; echo ready; exec sleep 1000")
		s.untilOutput("ready")
		s.killRelay()
		if out, err := s.command("end").CombinedOutput(); err != nil {
			t.Fatalf("end: %v, %s", err, out)
		}
		c.checkChildren(1)
	})
	t.Run("jobs end with the command", func(t *testing.T) {
		for range 10 {
			c := newContainer(t)
			s := start(t, c, "--", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do (sleep 1000 &); done; kill -9 -$$")
			s.exit()
			<-s.relay.done
			c.checkChildren(0)
		}
	})
	t.Run("the agent is killed", func(t *testing.T) {
		c := newContainer(t)
		s := start(t, c, "stdin=1", "--", "cat")
		syscall.Kill(s.serverInContainer(), syscall.SIGKILL)
		<-s.relay.done
		c.checkChildren(1) // the command
	})
}

// A full-screen program redraws for a client that attaches, because the size of the
// terminal changes for a moment.
func TestAgent_RedrawOnAttach(t *testing.T) {
	const program = `sh -c 'trap "echo changed; stty size" WINCH; echo ready; while :; do sleep 0.05; done'`
	s := startSession(t, "tty=1", "--", "sh", "-c", "set -m; "+program+"; true")
	s.untilOutput("ready")
	s.attach() // the same client has the same screen
	s.until("attached", s.client.Attached)
	second := newSession(t, s.dir, 2)
	second.id = s.id
	second.client = agent.NewClient(agent.ClientConfig{
		ID: agent.ClientID{2}, Term: "screen", Size: agent.Size{Cols: 80, Rows: 24},
	})
	second.attach()
	second.untilOutput("changed")
	second.until("the old size", func() bool {
		return strings.HasSuffix(strings.TrimSpace(second.out[1].String()), "24 80")
	})
	if second.welcome.Term != "xterm" {
		t.Errorf("TERM of the first client is %q", second.welcome.Term)
	}
	if n := strings.Count(second.out[1].String(), "changed"); n > 2 {
		t.Errorf("the size was changed %d times", n)
	}
}

// The size does not change while the shell itself has the terminal: it would print
// its prompt again.
func TestAgent_NoRedrawOfShell(t *testing.T) {
	s := startSession(t, "tty=1", "--", "sh", "-c",
		`trap "stty size" WINCH; echo ready; while :; do sleep 0.05; done`)
	s.untilOutput("ready")
	second := newSession(t, s.dir, 2)
	second.id = s.id
	second.attach()
	second.untilOutput("ready")
	second.do(func(c *agent.Client) { c.Resize(agent.Size{Cols: 80, Rows: 30}) })
	second.untilOutput("30 80")
	if out := second.out[1].String(); strings.Contains(out, "23 80") || strings.Contains(out, "29 80") {
		t.Errorf("the size was changed: %q", out)
	}
}

// cpuTime returns the processor time that a process has used.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// The agent and its relay use no processor time while nothing happens.
func TestAgent_Idle(t *testing.T) {
	for _, tty := range []string{"tty=0", "tty=1"} {
		s := startSession(t, tty, "--", "sleep", "1000")
		s.until("attached", func() bool { return s.welcome != nil })
		server, relay := s.server(), s.relay.cmd.Process.Pid
		before := cpuTime(t, server) + cpuTime(t, relay)
		<-time.After(3 * time.Second) // the time that is measured
		if used := cpuTime(t, server) + cpuTime(t, relay) - before; used > 30*time.Millisecond {
			t.Errorf("%s: %v of processor time in 3 s", tty, used)
		}
	}
}
