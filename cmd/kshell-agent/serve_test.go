//go:build linux

package main

import (
	"bytes"
	"os"
	"sync"
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
			began: time.Now(), wake: make(chan struct{}, 1), conns: map[*agent.Peer]*os.File{},
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
		attach.Go(func() { s.hello(conn, hello) })
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
