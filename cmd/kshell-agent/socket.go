//go:build linux

package main

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketName returns the name of a session's socket in the agent's directory. It is
// used as a relative path, because the path of a Unix socket has at most 107 bytes.
func socketName(id string) string { return "s-" + id }

// newName returns the name that a session's socket has until it accepts connections.
func newName(id string) string { return "new-" + id }

// listen creates the socket of a session in the working directory, with mode 0600.
// The socket gets its final name after it has begun to accept connections, because
// the function sessions removes sockets that refuse them.
func listen(id string) (*os.File, error) {
	fd, err := newSocket()
	if err != nil {
		return nil, err
	}
	name := newName(id)
	mask := unix.Umask(0o177)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: name})
	unix.Umask(mask)
	if err == nil {
		if err = listenAs(fd, name, socketName(id)); err != nil {
			_ = os.Remove(name)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("socket", err)
	}
	return os.NewFile(uintptr(fd), socketName(id)), nil
}

// listenAs makes a socket accept connections, and then renames it from name to
// newName. It fails if newName exists. No other process creates newName between the
// check and the rename: it would have to bind a socket to name first, which fails.
func listenAs(fd int, name, newName string) error {
	if err := unix.Listen(fd, 16); err != nil {
		return err
	}
	if _, err := os.Lstat(newName); err == nil {
		return unix.EADDRINUSE
	}
	return unix.Rename(name, newName)
}

func newSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return fd, os.NewSyscallError("socket", err)
}

// dial connects to the socket of a session in the working directory.
func dial(id string) (*os.File, error) {
	fd, err := newSocket()
	if err != nil {
		return nil, err
	}
	// The socket is not blocking: with a full queue, connect fails at once.
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socketName(id)}); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return os.NewFile(uintptr(fd), socketName(id)), nil
}

// accept waits for a connection of a process with the same user ID.
func accept(listener *os.File) (*os.File, error) {
	raw, err := listener.SyscallConn()
	if err != nil {
		return nil, err
	}
	for {
		fd := -1
		var acceptErr error
		err := raw.Read(func(l uintptr) bool {
			fd, _, acceptErr = unix.Accept4(int(l), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return !errors.Is(acceptErr, syscall.EAGAIN)
		})
		if err == nil {
			err = acceptErr
		}
		switch {
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.ECONNABORTED):
			continue
		case err != nil:
			return nil, os.NewSyscallError("accept", err)
		}
		if peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil ||
			int(peer.Uid) != os.Geteuid() {
			_ = unix.Close(fd)
			continue
		}
		return os.NewFile(uintptr(fd), "client"), nil
	}
}

// waitHangup waits until the other end of a socket has closed it.
func waitHangup(socket int) {
	fds := []unix.PollFd{{Fd: int32(socket), Events: unix.POLLRDHUP}}
	for {
		n, err := unix.Poll(fds, -1)
		if n > 0 || err != nil && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}
