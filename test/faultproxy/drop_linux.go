package faultproxy

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setDrop attaches a filter that drops every packet that arrives at a socket,
// or removes the filter. On a listening socket, the filter drops the handshakes
// of new clients.
func setDrop(sock syscall.Conn, on bool) error {
	raw, err := sock.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if on {
			none := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // returns 0: drop the packet
			program := unix.SockFprog{Len: 1, Filter: &none}
			failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program)
			return
		}
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		if errors.Is(failed, unix.ENOENT) { // it has no filter
			failed = nil
		}
	})
	return errors.Join(err, failed)
}

// waitAcknowledged waits until the kernel of the other end has acknowledged
// everything that was written to a socket, at most until end. Without this
// wait, the proxy's kernel would send the unacknowledged packets again, and the
// filter of setDrop does not drop packets that the proxy sends.
func waitAcknowledged(sock *net.TCPConn, end time.Time) {
	raw, err := sock.SyscallConn()
	if err != nil {
		return // the socket is closed
	}
	for ; time.Now().Before(end); time.Sleep(time.Millisecond) {
		var left int
		failed := raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		if errors.Join(failed, err) != nil || left == 0 {
			return
		}
	}
}
