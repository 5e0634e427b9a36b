//go:build linux

package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kshell/internal/agent"
)

const (
	// hangupGrace is the time that a relay has to write the last output after the
	// agent has closed the connection.
	hangupGrace = 5 * time.Second

	// reapGrace is the time that the first relay waits for the end of the agent, so
	// that no zombie remains.
	reapGrace = 2 * time.Second

	// answerTimeout limits the wait for an Info.
	answerTimeout = 5 * time.Second
)

// start starts the serving process and is its first relay. args are the arguments
// from which o was parsed.
func start(o options, args []string, stdin, stdout *os.File) error {
	if o.id == "" || len(o.command) == 0 {
		return usageError("start needs an ID and a command")
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	closeOnExec()
	socket, pid, err := startServing(dir, args)
	if err != nil {
		return err
	}
	// The socket is not closed: Close would wait for the call of waitHangup. The
	// process ends after start has returned.
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
				return
			}
		}
	}()
	hungUp := relay(socket, stdin, stdout)
	if hungUp {
		select {
		case <-gone:
		case <-time.After(reapGrace):
		}
	}
	return nil
}

// startServing runs "serve" with the arguments. It returns a connection to the
// process, which is its first client.
func startServing(dir string, args []string) (*os.File, int, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, 0, err
	}
	defer null.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, 0, os.NewSyscallError("socketpair", err)
	}
	defer func() { _ = unix.Close(pair[1]) }()
	socket := os.NewFile(uintptr(pair[0]), "agent")
	environ, write, err := os.Pipe()
	if err != nil {
		socket.Close()
		return nil, 0, err
	}
	defer environ.Close()
	defer write.Close()

	program := ownFile
	if _, err := os.Stat(program); err != nil {
		program = executable()
	}
	argv := append([]string{"kshell-agent", "serve", "dir=" + dir}, args...)
	pid, err := syscall.ForkExec(program, argv, &syscall.ProcAttr{
		Env:   []string{"GOGC=25", "GOMAXPROCS=1", "GOMEMLIMIT=7MiB"},
		Files: []uintptr{null.Fd(), null.Fd(), null.Fd(), uintptr(pair[1]), environ.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		socket.Close()
		return nil, 0, err
	}
	environ.Close()
	_, err = write.WriteString(commandEnviron())
	if err != nil {
		socket.Close()
		return nil, 0, err
	}
	return socket, pid, nil
}

// attach is a relay to a session.
func attach(o options, stdin, stdout *os.File) error {
	socket, err := o.dial()
	if err != nil {
		return err
	}
	relay(socket, stdin, stdout)
	return nil
}

// dial connects to the session of the options. The error is errNoSession if the
// session does not exist.
func (o *options) dial() (*os.File, error) {
	if o.id == "" {
		return nil, usageError("an ID is missing")
	}
	err := os.Chdir(o.dir)
	if err == nil {
		var socket *os.File
		if socket, err = dial(o.id); err == nil {
			return socket, nil
		}
	}
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, errNoSession
	}
	return nil, err
}

// errNoSession means that no process serves the session: it has ended, or has never
// started.
var errNoSession = errors.New("no such session")

// relay copies stdin to the socket, and the socket to stdout. With the first bytes of
// stdin, it passes the descriptor of stdout to the agent, which then writes to it
// directly if it is a pipe. relay returns when stdin or the socket ends, and reports
// whether it was the socket. The end of stdin means
// that kshell has disconnected.
func relay(socket, stdin, stdout *os.File) (hungUp bool) {
	ended := make(chan bool, 2)
	go func() {
		buf := make([]byte, 64<<10)
		write := func(p []byte) error { return sendWithFile(socket, p, stdout) }
		for {
			n, err := stdin.Read(buf)
			if err != nil {
				ended <- false
				return
			}
			err = write(buf[:n])
			write = func(p []byte) error { _, err := socket.Write(p); return err }
			if err != nil {
				return // the agent has closed the connection; what it has sent before is still copied
			}
		}
	}()
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{stdout}, struct{ io.Reader }{socket}, make([]byte, 64<<10))
		ended <- err == nil
	}()
	hangup := make(chan struct{})
	go func() {
		raw, err := socket.SyscallConn()
		if err == nil {
			// Control keeps the descriptor open, and does not prevent reads and writes.
			err = raw.Control(func(fd uintptr) { waitHangup(int(fd)) })
		}
		if err == nil {
			close(hangup)
		}
	}()
	select {
	case hungUp = <-ended:
	case <-hangup:
		// The write to stdout may be blocked, because its pipe is full and not read.
		hungUp = true
		select {
		case <-ended:
		case <-time.After(hangupGrace):
		}
	}
	return hungUp
}

// list prints an Info frame for each session in the directory, and removes the
// sockets of agents that are dead.
func list(o options, stdout *os.File) error {
	if err := os.Chdir(o.dir); err != nil {
		return err
	}
	for _, id := range sessions() {
		socket, err := dial(id)
		if err != nil {
			continue
		}
		if info, err := ask(socket, agent.PurposeInfo); err == nil {
			if _, err := stdout.Write(agent.Append(nil, info)); err != nil {
				return err
			}
		}
	}
	return nil
}

// end ends a session, and prints its Info frame.
func end(o options, stdout *os.File) error {
	socket, err := o.dial()
	if err != nil {
		return err
	}
	info, err := ask(socket, agent.PurposeEnd)
	if err != nil {
		return err
	}
	_, err = stdout.Write(agent.Append(nil, info))
	return err
}

// sessions returns the IDs of the sessions whose agent is alive, in the working
// directory. It removes the sockets of the others, and each socket new-ID that is older
// than helloTimeout: an agent renames that socket much earlier, so it must have ended.
func sessions() []string {
	entries, _ := os.ReadDir(".")
	var ids []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), newName("")) {
			if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > helloTimeout {
				_ = os.Remove(entry.Name())
			}
			continue
		}
		id, ok := strings.CutPrefix(entry.Name(), "s-")
		if !ok || checkID(id) != nil {
			continue
		}
		socket, err := dial(id)
		if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(entry.Name())
			continue
		}
		if err == nil {
			socket.Close()
		}
		ids = append(ids, id)
	}
	return ids
}

// ask sends a Hello to a session and returns the Info. It closes the socket.
func ask(socket *os.File, purpose agent.Purpose) (*agent.Info, error) {
	defer socket.Close()
	_ = socket.SetDeadline(time.Now().Add(answerTimeout))
	hello := &agent.Hello{Version: agent.Version, MinVersion: agent.Version, Build: buildID, Purpose: purpose}
	if _, err := socket.Write(agent.Append(nil, hello)); err != nil {
		return nil, err
	}
	var decoder agent.Decoder
	buf := make([]byte, 32<<10)
	for {
		n, err := socket.Read(buf)
		if err != nil {
			return nil, err
		}
		_, _ = decoder.Write(buf[:n])
		switch m, err := decoder.Next(); m := m.(type) {
		case nil:
			if err != nil {
				return nil, err
			}
		case *agent.Info:
			return m, nil
		case *agent.Refused:
			return nil, errors.New(m.Text)
		default:
			return nil, agent.ErrUnexpected
		}
	}
}
