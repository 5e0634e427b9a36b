//go:build linux

package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kshell/internal/agent"
)

const (
	// redrawDelay separates two changes of the size, so that a program sees both.
	redrawDelay = 50 * time.Millisecond

	// A command is ended with HUP, TERM after hangupDelay and KILL after termDelay.
	hangupDelay = time.Second
	termDelay   = 4 * time.Second

	// lastOutput is the time after the end of a command in which output that it has
	// written to its terminal may still arrive.
	lastOutput = 20 * time.Millisecond

	// maxLastOutput limits the output that is read after the end of a command. It is
	// the maximum size of a pipe: more output can only come from other processes.
	maxLastOutput = 1 << 20

	// lastClients is how long the agent waits for clients to receive the exit of a
	// command that the agent has ended.
	lastClients = 10 * time.Second

	maxInputWrite = 4 << 10
)

// command is the command of a session.
type command struct {
	argv    []string
	environ []string
	ignored []syscall.Signal
	dir     string // where it starts
	workdir string // the working directory that the user has requested, or ""
	cwd     *os.File
	theirs  []*os.File // its standard streams, until it was started
	input   *os.File   // nil if it has none
	outputs []*os.File // the terminal, or stdout and stderr
	tty     bool
	pid     int // 0 until it was started

	// The end of the command.
	exited chan struct{} // closed when it has ended
	status syscall.WaitStatus

	// The command is reaped only while mu is locked; see reap.
	mu       sync.Mutex
	isOver   bool          // the exit was passed to the session
	overAt   time.Duration // the time at which that happened
	endsJobs bool          // see endJobs
}

// newCommand opens the terminal or the pipes of a command.
func newCommand(o options, environ string) (*command, error) {
	c := &command{argv: o.command, tty: o.tty, exited: make(chan struct{})}
	c.ignored, c.environ = parseEnviron(environ)
	for _, variable := range o.env {
		c.environ = setVariable(c.environ, variable)
	}
	// The descriptor names the working directory even if it has no path any more.
	fd, err := unix.Open(".", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	c.cwd = os.NewFile(uintptr(fd), ".")
	c.dir = "/proc/self/fd/" + itoa(fd)
	if _, err := os.Stat(c.dir); err != nil {
		c.dir, _ = os.Getwd()
	}
	if o.workdir != "" {
		c.dir, c.workdir = o.workdir, o.workdir
		if o.workdir[0] != '/' {
			c.dir = "/proc/self/fd/" + itoa(fd) + "/" + o.workdir
		}
	}
	if o.tty {
		master, slave, err := openTerminal()
		if err != nil {
			return nil, err
		}
		c.input, c.outputs, c.theirs = master, []*os.File{master}, []*os.File{slave, slave, slave}
		return c, nil
	}
	return c, c.openPipes(o.stdin)
}

func (c *command) openPipes(stdin bool) error {
	var err error
	var read, write *os.File
	if stdin {
		if read, write, err = os.Pipe(); err != nil {
			return err
		}
		c.input = write
	} else if read, err = os.Open(os.DevNull); err != nil {
		return err
	}
	c.theirs = []*os.File{read}
	for range 2 {
		if read, write, err = os.Pipe(); err != nil {
			return err
		}
		control(read, enlarge)
		c.outputs, c.theirs = append(c.outputs, read), append(c.theirs, write)
	}
	return nil
}

// pipeSize is the size of a pipe for output, in bytes. In a larger pipe, bulk output
// needs fewer switches between processes.
const pipeSize = 256 << 10

// enlarge sets the size of a pipe. It may fail if the user has many pipes; the pipe then
// keeps its size.
func enlarge(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) }

// startCommand starts the command, and the goroutines for its streams. s.mu is
// locked. If the command cannot be started, that is the exit of the session.
func (s *server) startCommand() {
	c := s.cmd
	size, _ := s.session.Size()
	c.resize(size)
	code, err := c.start()
	for _, file := range c.theirs {
		file.Close()
	}
	c.cwd.Close()
	if err != nil {
		s.session.Exit(agent.NotStarted, code, c.argv[0]+": "+err.Error())
		c.over(s.now())
		return
	}
	go c.reap()
	if c.input == nil {
		s.session.CloseInput()
	} else {
		go s.writeInput()
	}
	var readers sync.WaitGroup
	for i, file := range c.outputs {
		readers.Go(func() { s.readOutput(agent.Stream(i+1), file) })
	}
	go func() {
		<-c.exited
		for _, file := range c.outputs {
			_ = file.SetReadDeadline(time.Now()) // readOutput then reads only what the pipe contains
		}
		readers.Wait()
		s.exit()
	}()
}

// start starts the command. If it fails, it returns the exit code of the failure.
func (c *command) start() (code uint8, err error) {
	attr := &syscall.ProcAttr{
		Dir: c.dir, Env: c.environ,
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: c.tty},
	}
	for _, file := range c.theirs {
		attr.Files = append(attr.Files, file.Fd())
	}
	if c.workdir != "" {
		if err := canEnter(c.dir); err != nil {
			return agent.NoDirectory, &os.PathError{Op: "chdir", Path: c.workdir, Err: err}
		}
	}
	err = syscall.ENOENT
	withIgnored(c.ignored, func() {
		for _, path := range findProgram(c.argv[0], c.environ) {
			var pid int
			if pid, err = syscall.ForkExec(path, c.argv, attr); err == nil {
				c.pid = pid
				return
			}
		}
	})
	switch {
	case err == nil:
		return 0, nil
	case errors.Is(err, syscall.ENOENT):
		return 127, err
	}
	return 126, err
}

// canEnter returns an error if dir is not a directory, or cannot be entered. It is
// called before ForkExec, whose error is the same for a missing directory and for a
// missing program.
func canEnter(dir string) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Access(dir+"/.", unix.X_OK)
}

// reap waits for the command, and for the background jobs that it leaves.
func (c *command) reap() {
	for {
		// Waitid waits without reaping, and Wait4 reaps with c.mu locked: while another
		// goroutine has c.mu locked, the ID of the command cannot be reused.
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			c.mu.Lock()
			var status syscall.WaitStatus
			var pid int
			if pid, err = syscall.Wait4(-1, &status, syscall.WNOHANG, nil); err == nil {
				c.reaped(pid, status)
			}
			c.mu.Unlock()
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return // no children, and none can come
		}
	}
}

// reaped records the end of the command if pid is its ID. After the end of the
// command, reaped does nothing, because a background job may have got the same ID.
func (c *command) reaped(pid int, status syscall.WaitStatus) {
	if c.hasExited() || pid != c.pid {
		return
	}
	c.status = status
	close(c.exited)
}

// hasExited reports whether reap has recorded the end of the command.
func (c *command) hasExited() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// exit passes the end of the command to the session.
func (s *server) exit() {
	s.mu.Lock()
	c := s.cmd
	kind, code := agent.Exited, c.status.ExitStatus()
	if c.status.Signaled() {
		kind, code = agent.Signaled, int(c.status.Signal())
	}
	if s.expired {
		kind = agent.TimedOut
	}
	c.endJobs()
	s.session.Exit(kind, uint8(code), "")
	c.over(s.now())
	if c.input != nil && !c.tty {
		c.input.Close()
	}
	s.mu.Unlock()
	s.notify()
}

// over records the time at which the session knows the end of the command.
func (c *command) over(now time.Duration) {
	c.mu.Lock()
	c.isOver, c.overAt = true, now
	c.mu.Unlock()
}

// ended reports whether the exit was passed to the session, and at which time.
func (c *command) ended() (bool, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isOver, c.overAt
}

// waitRoom waits until output may be read, and returns how much.
func (s *server) waitRoom() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closed {
			return 0, errStopped
		}
		if room := s.session.OutputRoom(); room > 0 {
			return room, nil
		}
		s.changed.Wait()
	}
}

// readOutput passes one stream of output to the session, until its end. After the end
// of the command, it reads only what was written before: background jobs may keep the
// stream open.
func (s *server) readOutput(stream agent.Stream, file *os.File) {
	buf := make([]byte, agent.OutputSize)
	last, left := false, maxLastOutput
	for left > 0 {
		room, err := s.waitRoom()
		if err != nil {
			return
		}
		if last {
			_ = file.SetReadDeadline(time.Now().Add(lastOutput)) // after the wait for room, which may be longer
		}
		n, err := file.Read(buf[:min(room, len(buf))])
		if n > 0 {
			s.mu.Lock()
			s.session.Output(stream, buf[:n])
			s.mu.Unlock()
			s.changed.Broadcast()
		}
		if last {
			left -= n
		}
		switch {
		case err == nil && !last:
		case err != nil && (last || !errors.Is(err, os.ErrDeadlineExceeded)):
			return // the end of the stream, or no more output within lastOutput
		default:
			last = true
		}
	}
}

// writeInput writes the input of the clients to the command.
func (s *server) writeInput() {
	for {
		s.mu.Lock()
		data, end, ok := s.session.Input()
		for !ok {
			if s.closed {
				s.mu.Unlock()
				return
			}
			s.changed.Wait()
			data, end, ok = s.session.Input()
		}
		s.mu.Unlock()
		var n int
		var err error
		switch {
		case !end:
			n, err = s.cmd.input.Write(data[:min(len(data), maxInputWrite)])
		case !s.cmd.tty:
			err = io.EOF
			s.cmd.input.Close()
		}
		s.mu.Lock()
		s.session.InputWritten(n)
		if err != nil {
			s.session.CloseInput()
		}
		s.mu.Unlock()
		s.changed.Broadcast()
		if err != nil {
			return
		}
	}
}

// resize sets the size of the terminal.
func (c *command) resize(size agent.Size) {
	if !c.tty || size.Cols == 0 || size.Rows == 0 {
		return
	}
	control(c.input, func(fd int) {
		_ = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: size.Cols, Row: size.Rows})
	})
}

// foreground returns the process group that has the terminal, or 0.
func (c *command) foreground() (group int) {
	if c.tty {
		control(c.input, func(fd int) { group, _ = unix.IoctlGetInt(fd, unix.TIOCGPGRP) })
	}
	return group
}

// foreign reports whether another process group than that of the command has the
// terminal.
func (c *command) foreign() bool {
	group := c.foreground()
	return group > 0 && group != c.pid
}

// signal sends a signal to the process group of the command, or to the one that has
// the terminal.
func (c *command) signal(number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hasExited() || c.pid == 0 {
		return
	}
	switch syscall.Signal(number) {
	case unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM:
		c.endsJobs = !c.tty
	}
	_ = unix.Kill(-c.target(c.foreground()), syscall.Signal(number))
}

// endJobs sends SIGTERM to the background jobs that the command has left, if the
// command has no terminal and a client has sent it a signal to end it. That signal
// may not have ended the jobs: shells start them with SIGINT and SIGQUIT ignored.
func (c *command) endJobs() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.endsJobs {
		return
	}
	for _, group := range c.groups() {
		_ = unix.Kill(-group, unix.SIGTERM)
	}
}

// target returns the process group to which a signal is sent. foreground is the group
// that has the terminal, or 0. That group may have ended, and its ID may have been
// reused by another session, which must not receive the signal.
func (c *command) target(foreground int) int {
	if foreground > 1 && contains(groups(c.pid), foreground) {
		return foreground
	}
	return c.pid
}

// groups returns the process groups of the command's session. c.mu is locked.
func (c *command) groups() []int {
	if c.hasExited() {
		// The ID of the command is not reused while its session has processes.
		if _, err := os.Stat("/proc/" + itoa(c.pid)); err == nil {
			return nil
		}
	}
	return groups(c.pid)
}

// end ends the process groups of the command's session. It returns when the command
// has ended, or was sent KILL.
func (c *command) end() {
	for _, step := range []struct {
		signals []syscall.Signal
		delay   time.Duration
	}{
		{[]syscall.Signal{unix.SIGHUP, unix.SIGCONT}, hangupDelay},
		{[]syscall.Signal{unix.SIGTERM, unix.SIGCONT}, termDelay},
		{[]syscall.Signal{unix.SIGKILL}, 0},
	} {
		c.mu.Lock()
		for _, group := range c.groups() {
			for _, s := range step.signals {
				_ = unix.Kill(-group, s)
			}
		}
		c.mu.Unlock()
		if c.waitGroups(step.delay) {
			return
		}
	}
}

// waitGroups waits until the session has no more processes, or the time has passed.
func (c *command) waitGroups(limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for {
		c.mu.Lock()
		left := len(c.groups())
		c.mu.Unlock()
		if left == 0 {
			return true
		}
		if !time.Now().Before(deadline) {
			return false
		}
		<-time.After(20 * time.Millisecond)
	}
}
