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

// If the session ends while a client attaches, the agent sends the first frames to
// that client before it ends.
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

// A job that gets the ID of the command, after the command has ended, is not the
// command.
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
