package sandbox

import (
	"os"
	"sync"
	"time"
)

// command describes a process to start.
type command struct {
	args  []string
	env   []string
	dir   string
	root  string // the directory of the container's image; "" means the root of the machine
	stdin bool   // false: stdin is /dev/null
	tty   bool

	idle   bool   // the command only keeps the container running, and is run from the machine, not from the image
	cgroup string // see Config.Cgroup; "" means the cgroup of the sandbox
}

// process is a running command, in its own session. The files are the
// sandbox's ends of the pipes or the pty; closeFiles closes them.
type process struct {
	pid    int
	stdin  *os.File // nil if the command has no stdin; the master side of the pty if it has a tty
	stdout *os.File // the master side of the pty if it has a tty
	stderr *os.File // nil if it has a tty
	tty    bool

	exited chan struct{} // closed when the command has exited and code is set
	code   int           // 128+n after signal n

	closeOnce sync.Once
	closed    chan struct{} // closed when the files are closed
}

// size is a message on the resize channel: a terminal size in characters.
type size struct {
	Width  uint16
	Height uint16
}

// closeStdin closes the command's stdin. With a tty, it does nothing, because
// there the client must send ^D.
func (p *process) closeStdin() {
	if p.stdin != nil && !p.tty {
		_ = p.stdin.Close() // may have been closed already
	}
}

// isRunning reports whether the command has not exited.
func (p *process) isRunning() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// endReads is called after the command has exited. It makes reads of the output
// fail after a second, even if a descendant that the sandbox did not find still
// holds the output open.
func (p *process) endReads() {
	for _, f := range []*os.File{p.stdout, p.stderr} {
		if f != nil {
			_ = f.SetReadDeadline(time.Now().Add(time.Second)) // not supported by every file
		}
	}
}

func (p *process) closeFiles() {
	p.closeOnce.Do(func() {
		for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
			if f != nil {
				_ = f.Close()
			}
		}
		close(p.closed)
	})
}
