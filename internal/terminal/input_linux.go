package terminal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// polledTerminal is a source that waits for a terminal in the poller of the Go
// runtime, as for a network connection. The goroutine that gets a key from the
// reading goroutine then runs on the same thread. With select(2), the reading
// goroutine keeps its thread, which soon waits for the next key, so another
// thread must be woken for each key. That can take longer than all other work
// for the key.
//
// It calls read(2) only if there is input. Otherwise the kernel would stop a
// process in the background.
type polledTerminal struct {
	fd   int      // the descriptor of the terminal
	own  *os.File // the same terminal, opened again: the non-blocking mode of fd would affect other processes
	conn syscall.RawConn
	try  func(fd uintptr) (done bool) // tryRead

	// Used by the goroutine that reads.
	p      []byte
	n      int
	err    error
	waited bool // the poller has reported input

	interrupted, nudged atomic.Bool
}

// pollTerminal returns a polledTerminal for f, or nil if f is not a terminal, or
// cannot be opened again. After su, for example, the terminal belongs to another
// user.
func pollTerminal(f *os.File) source {
	fd := int(f.Fd())
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		return nil
	}
	own, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil
	}
	conn, err := own.SyscallConn()
	if err != nil || own.SetReadDeadline(time.Time{}) != nil { // a file that the poller does not support has no deadlines
		_ = own.Close()
		return nil
	}
	t := &polledTerminal{fd: fd, own: own, conn: conn}
	t.try = t.tryRead
	return t
}

func (t *polledTerminal) read(p []byte) (int, error) {
	for {
		t.p, t.waited = p, false
		switch err := t.conn.Read(t.try); {
		case err == nil && errors.Is(t.err, unix.EINTR):
		case err == nil && t.err != nil:
			return 0, explainRead(t.fd, &os.PathError{Op: "read", Path: t.own.Name(), Err: t.err})
		case err == nil && t.n == 0:
			return 0, io.EOF
		case err == nil:
			return t.n, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case t.interrupted.Load():
			return 0, errInterrupted
		case t.nudged.Swap(false):
			t.endNudge()
			return 0, errNudged
		}
	}
}

// tryRead reads if there is input, and sets n and err. If done is false, the
// poller waits for input, and then calls tryRead again.
func (t *polledTerminal) tryRead(fd uintptr) (done bool) {
	if !t.waited {
		t.waited = true
		if !hasInput(int(fd)) {
			return false
		}
	}
	t.n, t.err = unix.Read(int(fd), t.p)
	return !errors.Is(t.err, unix.EAGAIN) // EAGAIN: another process has read the input first
}

// hasInput reports whether a read would not wait.
func hasInput(fd int) bool {
	fds := [...]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], 0)
	return n > 0 || err != nil
}

// ready reports whether read would not wait. It returns false after interrupt.
func (t *polledTerminal) ready() bool { return !t.interrupted.Load() && hasInput(t.fd) }

// past is a deadline that makes a read return.
var past = time.Unix(1, 0)

// nudge implements nudger.
func (t *polledTerminal) nudge() bool {
	t.nudged.Store(true)
	return t.own.SetReadDeadline(past) == nil
}

// endNudge removes the deadline of nudge, but not that of interrupt.
func (t *polledTerminal) endNudge() {
	_ = t.own.SetReadDeadline(time.Time{}) // it has succeeded before
	if t.interrupted.Load() {
		_ = t.own.SetReadDeadline(past)
	}
}

func (t *polledTerminal) interrupt() bool {
	t.interrupted.Store(true)
	return t.own.SetReadDeadline(past) == nil
}

func (t *polledTerminal) polled() bool { return true }

func (t *polledTerminal) close() { _ = t.own.Close() }
