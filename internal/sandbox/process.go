package sandbox

import (
	"os"
	"sync"
	"time"
)

// command is what a process is started from.
type command struct {
	args  []string
	env   []string
	dir   string
	root  string // of its image; "" is the machine's
	stdin bool   // else /dev/null
	tty   bool

	idle   bool   // it only keeps the container running, and is no command of its image
	cgroup string // see Config; empty: the sandbox's own
}

// process is a running command, in a session of its own. The files are the sandbox's ends; closeFiles closes them.
type process struct {
	pid    int
	stdin  *os.File // nil if the command has none; the pty's master if it has a tty
	stdout *os.File // the pty's master if it has a tty
	stderr *os.File // nil if it has a tty
	tty    bool

	exited chan struct{} // closed when code is known
	code   int           // 128+n after signal n

	closeOnce sync.Once
	closed    chan struct{} // closed when the files are
}

// size is a terminal's, as it comes on the resize channel.
type size struct {
	Width  uint16
	Height uint16
}

// closeStdin makes the command see the end of its stdin. On a tty it does nothing: there a remote has to send ^D.
func (p *process) closeStdin() {
	if p.stdin != nil && !p.tty {
		_ = p.stdin.Close() // a second close is harmless
	}
}

// runs says whether the command has not ended yet.
func (p *process) runs() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// expire ends the reading of a dead command's output soon, even if a descendant of its that could not be found holds it
// open.
func (p *process) expire() {
	for _, f := range []*os.File{p.stdout, p.stderr} {
		if f != nil {
			_ = f.SetReadDeadline(time.Now().Add(time.Second)) // where that cannot be set, it cannot be helped
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
