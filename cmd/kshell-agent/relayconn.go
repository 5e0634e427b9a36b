//go:build linux

package main

import (
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// relayConn is the agent's end of a connection to a relay. The relay passes its
// stdout to the agent. If that is a pipe, the agent writes the frames to it.
// Otherwise, the agent writes the frames to the socket, and the relay copies them to
// its stdout, which takes more processor time.
type relayConn struct {
	*os.File          // the socket
	out      *os.File // the stdout of the relay, or nil
}

// Close closes the socket and the stdout of the relay. The exec of the relay does not
// end while the agent has that stdout open.
func (c *relayConn) Close() {
	c.File.Close()
	if c.out != nil {
		c.out.Close()
	}
}

// SetWriteDeadline limits the time of writeFrames and Write.
func (c *relayConn) SetWriteDeadline(t time.Time) error {
	if c.out != nil {
		_ = c.out.SetWriteDeadline(t)
	}
	return c.File.SetWriteDeadline(t)
}

// writeFrames writes frames to the stdout of the relay or, if the agent does not have
// it, to the socket.
func (c *relayConn) writeFrames(p []byte) error {
	file := c.File
	if c.out != nil {
		file = c.out
	}
	_, err := file.Write(p)
	return err
}

// readFirst is like Read, but also receives the stdout of the relay if the relay has
// sent it with the bytes. It must not be called after the first call of writeFrames.
func (c *relayConn) readFirst(p []byte) (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	rights := newRights(-1)
	var readErr error
	err = raw.Read(func(fd uintptr) bool {
		n, readErr = messageCall(unix.SYS_RECVMSG, fd, p, rights, unix.MSG_CMSG_CLOEXEC)
		return !errors.Is(readErr, syscall.EAGAIN) && !errors.Is(readErr, syscall.EINTR)
	})
	if err == nil {
		err = readErr
	}
	if err != nil {
		return 0, err
	}
	c.receiveOut(rights)
	if n == 0 {
		return 0, errClosed
	}
	return n, nil
}

// errClosed means that the relay has closed the connection.
var errClosed = errors.New("the relay has ended")

// receiveOut takes the descriptor in a control message, if there is one and it is a
// pipe.
func (c *relayConn) receiveOut(r *rights) {
	if r.header.Level != unix.SOL_SOCKET || r.header.Type != unix.SCM_RIGHTS {
		return
	}
	fd := int(r.fd)
	var stat unix.Stat_t
	if c.out != nil || unix.Fstat(fd, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFIFO ||
		unix.SetNonblock(fd, true) != nil {
		_ = unix.Close(fd)
		return
	}
	enlarge(fd)
	c.out = os.NewFile(uintptr(fd), "stdout")
}

// rights is a control message with one descriptor. The kernel closes the further
// descriptors of a message that has more.
type rights struct {
	header unix.Cmsghdr
	fd     int32
	_      int32
}

// newRights returns a message with a descriptor, or an empty one if fd is -1.
func newRights(fd int) *rights {
	r := &rights{fd: int32(fd)}
	if fd >= 0 {
		r.header.Level, r.header.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	}
	r.header.SetLen(unix.CmsgLen(4))
	return r
}

// messageCall calls sendmsg or recvmsg. The functions of the package unix would make
// the agent larger, because they support all kinds of addresses.
func messageCall(call, socket uintptr, p []byte, r *rights, flags uintptr) (int, error) {
	part := unix.Iovec{Base: unsafe.SliceData(p)}
	part.SetLen(len(p))
	message := unix.Msghdr{Iov: &part, Control: (*byte)(unsafe.Pointer(r))}
	message.SetIovlen(1)
	message.SetControllen(unix.CmsgLen(4)) // CmsgSpace(4) has room for two descriptors
	n, _, errno := unix.Syscall(call, socket, uintptr(unsafe.Pointer(&message)), flags)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sendWithFile writes p to a socket, and passes file to the other end.
func sendWithFile(socket *os.File, p []byte, file *os.File) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	source, err := file.SyscallConn()
	if err != nil {
		return err
	}
	n := 0
	var sendErr error
	err = source.Control(func(out uintptr) {
		_ = raw.Write(func(fd uintptr) bool {
			n, sendErr = messageCall(unix.SYS_SENDMSG, fd, p, newRights(int(out)), unix.MSG_NOSIGNAL)
			return !errors.Is(sendErr, syscall.EAGAIN) && !errors.Is(sendErr, syscall.EINTR)
		})
	})
	if err == nil {
		err = sendErr
	}
	if err == nil && n < len(p) {
		_, err = socket.Write(p[n:])
	}
	return err
}
