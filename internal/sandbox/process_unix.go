//go:build unix

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

func supported() error { return nil }

// startProcess starts a command in a new session. The channel process.exited is
// closed when the command has exited. Descendants may still run then, and hold
// the output of the command open.
func startProcess(c command) (*process, error) {
	name := ""
	if len(c.args) > 0 {
		name = c.args[0]
	}
	paths := variable(c.env, "PATH")
	if c.idle {
		paths = searchPath("")
	}
	path, err := lookPath(name, c.dir, c.root, paths)
	if err != nil {
		return nil, err
	}
	p := &process{tty: c.tty, exited: make(chan struct{}), closed: make(chan struct{})}
	files, err := p.open(c)
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	if err != nil {
		p.closeFiles()
		return nil, err
	}
	if c.cgroup != "" {
		join := []string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(c.cgroup, "cgroup.procs"), path}
		path, c.args = "/bin/sh", append(join, c.args[1:]...)
	}
	sys := &syscall.SysProcAttr{Setsid: true, Setctty: c.tty} // Ctty is 0: the child's stdin is its terminal
	started, err := os.StartProcess(path, c.args, &os.ProcAttr{Dir: c.dir, Env: c.env, Files: files, Sys: sys})
	if err != nil {
		p.closeFiles()
		return nil, errCannotRun("%w", err)
	}
	p.pid = started.Pid
	go p.wait(started)
	return p, nil
}

// open creates the pipes or the pty, and returns the command's ends. If it
// returns an error, files contains the ends that it has opened before.
func (p *process) open(c command) (files []*os.File, err error) {
	if c.tty {
		master, slave, err := pty.Open()
		if err != nil {
			return nil, fmt.Errorf("cannot open a pty: %w", err)
		}
		if master, err = interruptible(master); err != nil {
			return []*os.File{slave}, fmt.Errorf("cannot open a pty: %w", err)
		}
		p.stdout = master
		if c.stdin {
			p.stdin = master
		}
		return []*os.File{slave, slave, slave}, nil
	}
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	var in, out, errOut *os.File
	if c.stdin {
		in, p.stdin = pipe()
	} else {
		in, err = os.Open(os.DevNull)
	}
	p.stdout, out = pipe()
	p.stderr, errOut = pipe()
	return []*os.File{in, out, errOut}, err
}

// interruptible returns a new descriptor of f whose reads and writes are
// interrupted by Close, and closes f. pty.Open returns a file whose reads and
// writes block: a command that does not read its terminal would block a session
// forever.
func interruptible(f *os.File) (*os.File, error) {
	defer func() { _ = f.Close() }() // the new descriptor stays open
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func (p *process) wait(started *os.Process) {
	defer close(p.exited)
	state, err := started.Wait()
	if err != nil {
		p.code = 255
		return
	}
	p.code = state.ExitCode()
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		p.code = 128 + int(ws.Signal())
	}
}

// signal sends a signal to the process group. It does nothing after the process
// has exited, because its PID may then belong to another process.
func (p *process) signal(sig syscall.Signal) {
	if p.isRunning() {
		_ = syscall.Kill(-p.pid, sig)
	}
}

func (p *process) terminate() { p.signal(syscall.SIGTERM) }

func (p *process) hangUp() { p.signal(syscall.SIGHUP) }

func (p *process) kill() { p.signal(syscall.SIGKILL) }

func (p *process) resize(s size) {
	if !p.tty {
		return
	}
	if c, err := p.stdout.SyscallConn(); err == nil { // fails only if stdout is closed
		_ = c.Control(func(fd uintptr) {
			_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: s.Width, Row: s.Height})
		})
	}
}

// killTimeout is how long killAll waits for killed processes. On a busy
// machine, and for processes that wait for a disk, exiting takes a while.
const killTimeout = 10 * time.Second

// killAll kills all processes whose markVariable begins with mark, and all
// processes in the sessions of the containers. It repeats this until no such
// process is left, for at most killTimeout.
func killAll(mark string, containers ...*container) {
	var dying []int
	for end := time.Now().Add(killTimeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var sessions []int
		for _, c := range containers {
			c.mu.Lock()
			sessions = append(sessions, c.sessions()...)
			c.mu.Unlock()
		}
		pids, _ := findProcesses(mark, sessions)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		dying = slices.DeleteFunc(append(dying, pids...), func(pid int) bool { return !isAlive(pid) })
		if len(pids) == 0 && len(dying) == 0 {
			return
		}
	}
}

// exists reports whether there is a process with this PID, including zombies.
func exists(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
