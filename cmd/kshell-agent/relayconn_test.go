//go:build linux

package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kshell/internal/agent"
)

// readFirst receives one descriptor. Further ones would remain open.
func TestRelayConn_FurtherDescriptors(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(pair[0]), "near"), os.NewFile(uintptr(pair[1]), "far")
	defer near.Close()
	defer far.Close()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	defer in.Close()
	fd := int(in.Fd())
	if err := unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(fd, fd), nil, 0); err != nil {
		t.Fatal(err)
	}
	conn := &relayConn{File: far}
	if _, err := conn.readFirst(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if conn.out == nil {
		t.Fatal("no descriptor was received")
	}
	wantPipeSize(t, out)
	conn.Close()
	in.Close()
	_ = out.SetReadDeadline(time.Now().Add(limit))
	if n, err := out.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the pipe remains open: %d bytes, %v", n, err)
	}
}

// wantPipeSize checks that a pipe was enlarged.
func wantPipeSize(t *testing.T, pipe *os.File) {
	t.Helper()
	n := 0
	control(pipe, func(fd int) { n, _ = unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0) })
	if n < pipeSize {
		t.Errorf("the pipe has %d bytes, want %d", n, pipeSize)
	}
}

func TestCommand_PipeSize(t *testing.T) {
	c, err := newCommand(options{}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(c.outputs, append(c.theirs, c.cwd)...) {
		defer file.Close()
	}
	wantPipeSize(t, c.outputs[0])
	wantPipeSize(t, c.outputs[1])
}

// The agent writes to the stdout of a relay if it is a pipe. Otherwise, the relay
// copies the frames. In both cases, stdout ends with the relay, although the session
// continues.
func TestRelay_Stdout(t *testing.T) {
	dir := agentDir(t)
	files := map[string]func(t *testing.T) (near, far *os.File){
		"pipe": func(t *testing.T) (near, far *os.File) {
			near, far, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			return near, far
		},
		"socket": func(t *testing.T) (near, far *os.File) {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			return os.NewFile(uintptr(pair[0]), "near"), os.NewFile(uintptr(pair[1]), "far")
		},
	}
	for name, open := range files {
		t.Run(name, func(t *testing.T) {
			near, far := open(t)
			defer near.Close()
			program := filepath.Join(dir, "agent")
			cmd := exec.Command(program, "start", "id="+name, "--", "sh", "-c", "echo hello; exec sleep 1000")
			cmd.Stdout = far
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			far.Close()
			defer exec.Command(program, "end", "id="+name).Run()
			hello := &agent.Hello{Version: agent.Version, MinVersion: agent.Version, Epoch: 1}
			if _, err := stdin.Write(agent.Append(nil, hello)); err != nil {
				t.Fatal(err)
			}
			_ = near.SetReadDeadline(time.Now().Add(limit))
			var decoder agent.Decoder
			buf := make([]byte, 1000)
			for text := ""; text != "hello\n"; {
				n, err := near.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				decoder.Write(buf[:n])
				for m, err := decoder.Next(); m != nil || err != nil; m, err = decoder.Next() {
					if err != nil {
						t.Fatal(err)
					}
					if output, ok := m.(*agent.Output); ok {
						text += string(output.Data)
					}
				}
			}
			stdin.Close() // ends the relay
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if n, err := near.Read(buf); err == nil || os.IsTimeout(err) {
				t.Errorf("after the end of the relay: %d bytes, %v", n, err)
			}
		})
	}
}
