//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kshell/internal/agent"
)

// If the session ends while a client attaches, the agent sends that client its
// first frames before the agent ends.
func TestServer_AttachAtTheEnd(t *testing.T) {
	hello := &agent.Hello{Version: agent.Version, MinVersion: agent.Version, Epoch: 1}
	for range 300 {
		s := &server{
			began: time.Now(), wake: make(chan struct{}, 1), conns: map[*agent.Peer]*relayConn{},
			cmd: &command{exited: make(chan struct{})}, session: agent.NewSession(agent.SessionConfig{}),
			ending: true,
		}
		s.changed = sync.NewCond(&s.mu)
		s.cmd.over(-2 * lastClients) // check then reports the end of the session
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		conn, client := os.NewFile(uintptr(pair[0]), "agent"), os.NewFile(uintptr(pair[1]), "client")
		var attach sync.WaitGroup
		attach.Go(func() { s.hello(&relayConn{File: conn}, hello) })
		for attached := false; !attached; {
			s.mu.Lock()
			attached = len(s.conns) > 0
			s.mu.Unlock()
		}
		s.watch()
		conn.Close() // as at the end of the process
		attach.Wait()
		var frames bytes.Buffer
		if _, err := frames.ReadFrom(client); err != nil || frames.Len() == 0 {
			t.Fatalf("the client has received %d bytes, %v", frames.Len(), err)
		}
		client.Close()
	}
}

// After the command has ended, a job may get the same process ID. The status of the
// job does not replace that of the command.
func TestCommand_ReusedID(t *testing.T) {
	c := &command{pid: 7, exited: make(chan struct{})}
	c.reaped(6, 1)
	if c.hasExited() {
		t.Error("the end of another process was recorded as the end of the command")
	}
	c.reaped(7, 2)
	c.reaped(7, 3)
	if !c.hasExited() || c.status != 2 {
		t.Errorf("the status is %d, want 2", c.status)
	}
}

// A process that lists the sessions does not remove the socket of a session that is
// starting.
func TestListen_WhileListed(t *testing.T) {
	t.Chdir(t.TempDir())
	stop := make(chan struct{})
	var lists sync.WaitGroup
	lists.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				sessions()
			}
		}
	})
	defer lists.Wait()
	defer close(stop)
	for i := range 300 {
		id := itoa(i)
		listener, err := listen(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(socketName(id)); err != nil {
			t.Fatalf("the socket was removed: %v", err)
		}
		listener.Close()
	}
}

// A second session with the same ID does not replace the socket of the first one.
func TestListen_SameID(t *testing.T) {
	t.Chdir(t.TempDir())
	first, err := listen("x")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if second, err := listen("x"); err == nil {
		second.Close()
		t.Error("the second call of listen has not failed")
	}
	conn, err := dial("x")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}

// An agent that is killed before it renames its socket leaves the socket new-ID. It is
// removed later, when no agent can be starting under that name any more.
func TestSessions_RemovesNewSocket(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, id := range []string{"old", "young"} {
		fd, err := newSocket()
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: newName(id)}); err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	past := time.Now().Add(-2 * helloTimeout)
	if err := os.Chtimes(newName("old"), past, past); err != nil {
		t.Fatal(err)
	}
	if ids := sessions(); len(ids) > 0 {
		t.Errorf("sessions %q", ids)
	}
	if _, err := os.Lstat(newName("old")); err == nil {
		t.Error("the old socket remains")
	}
	if _, err := os.Lstat(newName("young")); err != nil {
		t.Errorf("the young socket: %v", err)
	}
}

// startProcess starts a process in its own session.
func startProcess(t *testing.T, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

// The command has ended, and its process ID is that of another session now. The agent
// does not signal it.
func TestCommand_DoesNotSignalReusedID(t *testing.T) {
	other := startProcess(t, "sleep", "1000")
	c := &command{pid: other.Process.Pid, exited: make(chan struct{})}
	close(c.exited)
	c.signal(int(syscall.SIGKILL))
	c.end()
	if !alive(other.Process.Pid) {
		t.Error("another process was ended")
	}
}

// The ID of the terminal's foreground process group may be reused after the group has
// ended.
func TestCommand_SignalsGroupsOfItsSession(t *testing.T) {
	other := startProcess(t, "sleep", "1000")
	c, err := newCommand(options{
		tty: true, command: []string{"sh", "-c", "set -m; sleep 1000 & echo $!; wait"},
		env: []string{"PATH=" + os.Getenv("PATH")},
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.start(); err != nil {
		t.Fatal(err)
	}
	var job int
	if _, err := fmt.Fscan(c.input, &job); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ foreground, want int }{
		{0, c.pid},
		{c.pid, c.pid},
		{job, job},
		{other.Process.Pid, c.pid},
	} {
		if got := c.target(test.foreground); got != test.want {
			t.Errorf("with the foreground group %d, the signal goes to %d, want %d", test.foreground, got, test.want)
		}
	}
	other.Process.Kill() // reap waits for all children
	var reap sync.WaitGroup
	reap.Go(c.reap)
	c.end()
	reap.Wait()
}

// The ID of the command cannot be reused while a signal is sent, because the command
// is not reaped.
func TestCommand_NotReapedWhileSignaled(t *testing.T) {
	c := &command{argv: []string{"true"}, environ: os.Environ(), dir: "/", exited: make(chan struct{})}
	if err := c.openPipes(false); err != nil {
		t.Fatal(err)
	}
	if _, err := c.start(); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	var reap sync.WaitGroup
	reap.Go(c.reap)
	eventually(t, "the command has ended", func() bool { return !alive(c.pid) })
	if _, err := os.Stat("/proc/" + itoa(c.pid)); err != nil {
		t.Errorf("the command was reaped: %v", err)
	}
	c.mu.Unlock()
	reap.Wait()
	if !c.hasExited() {
		t.Error("the end of the command was not recorded")
	}
}

// The shell of busybox ignores SIGQUIT, but its children do not.
func TestParseEnviron_IgnoredSignals(t *testing.T) {
	for mask, want := range map[string][]syscall.Signal{
		"":                 nil,
		"0000000000000000": nil,
		"0000000000000004": nil,
		"0000000000000006": {syscall.SIGINT, syscall.SIGQUIT},
		"0000000000001205": {syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGPIPE},
	} {
		if ignored, _ := parseEnviron(mask + "\x00A=1\x00"); !slices.Equal(ignored, want) {
			t.Errorf("with the mask %q, %v are ignored, want %v", mask, ignored, want)
		}
	}
}
