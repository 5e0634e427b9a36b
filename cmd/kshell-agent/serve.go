//go:build linux

package main

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kshell/internal/agent"
)

const (
	// helloTimeout limits the wait for the first message of a relay, and for the
	// first client of a session.
	helloTimeout = 30 * time.Second

	// lastWrite is the time that the last frames have to be written.
	lastWrite = 2 * time.Second

	readSize = 32 << 10

	// ownFile is the file of this process, and agentName is the name of that file in
	// the agent's directory.
	ownFile   = "/proc/self/exe"
	agentName = "agent"

	// startingPrefix precedes the ID of a session in the name of the file that keeps
	// the agent's directory until the session has its socket.
	startingPrefix = "use-"
)

// server is the serving process of one session.
type server struct {
	opts    options
	cmd     *command
	mounts  string
	began   time.Time
	started uint64 // seconds since 1970
	wake    chan struct{}
	done    sync.WaitGroup // the goroutines that write to clients

	mu       sync.Mutex
	changed  *sync.Cond // on mu: signaled at each change of the session
	session  *agent.Session
	conns    map[*agent.Peer]*relayConn
	ending   bool // the command is being ended by the agent, since endingAt
	endingAt time.Duration
	expired  bool
	closed   bool // the process is about to end
}

// serve runs a session. Descriptor 3 is a connection to the first relay, and
// descriptor 4 is a pipe with the environment of the command.
func serve(o options) error {
	unix.CloseOnExec(3)
	unix.CloseOnExec(4)
	if err := unix.SetNonblock(3, true); err != nil {
		return err
	}
	first := os.NewFile(3, "client")
	pipe := os.NewFile(4, "environment")
	text, err := io.ReadAll(pipe)
	pipe.Close()
	if err != nil {
		return err
	}
	s := &server{
		opts: o, began: time.Now(), started: uint64(time.Now().Unix()),
		wake: make(chan struct{}, 1), conns: map[*agent.Peer]*relayConn{},
	}
	s.changed = sync.NewCond(&s.mu)
	s.mounts, _ = os.Readlink("/proc/self/ns/mnt")
	listener, err := s.prepare(string(text))
	if err != nil {
		s.fail(first, err)
		removeDirectory(o)
		return err
	}
	go s.handle(first)
	go func() {
		for {
			conn, err := accept(listener)
			if err != nil {
				return
			}
			go s.handle(conn)
		}
	}()
	s.watch()
	s.cleanUp()
	reapJobs()
	return nil
}

// reapJobs reaps the background jobs of the command that end within a second.
// Otherwise, they would remain as zombies if PID 1 of the container does not reap them.
// Jobs that run longer are left.
func reapJobs() {
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case err != nil: // none is left
			return
		case pid == 0:
			<-time.After(10 * time.Millisecond)
		}
	}
}

// prepare does everything that can fail before the command starts.
func (s *server) prepare(environ string) (*os.File, error) {
	cmd, err := newCommand(s.opts, environ)
	if err != nil {
		return nil, err
	}
	s.cmd = cmd
	if err := os.Chdir(s.opts.dir); err != nil {
		return nil, err
	}
	listener, err := listen(s.opts.id)
	if err != nil {
		return nil, err
	}
	// Background jobs of the user become children of this process, which waits for them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		_ = os.Remove(socketName(s.opts.id))
		return nil, os.NewSyscallError("prctl", err)
	}
	_ = os.Remove(startingPrefix + s.opts.id)
	return listener, nil
}

// fail refuses the first client, because the session cannot start.
func (s *server) fail(conn *os.File, cause error) {
	_ = conn.SetDeadline(time.Now().Add(lastWrite))
	refused := &agent.Refused{
		Reason: agent.ReasonUnable, Version: agent.Version, Build: buildID, Text: cause.Error(),
	}
	_, _ = conn.Write(agent.Append(nil, refused))
	conn.Close()
}

// cleanUp closes the connections and removes the socket. It also calls removeDirectory.
func (s *server) cleanUp() {
	s.mu.Lock()
	for _, conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	_ = os.Remove(socketName(s.opts.id))
	removeDirectory(s.opts)
}

// removeDirectory removes the agent and its directory, if that was requested and the
// directory is not used any more.
func removeDirectory(o options) {
	if os.Chdir(o.dir) != nil {
		return
	}
	_ = os.Remove(startingPrefix + o.id)
	if !o.remove || len(sessions()) > 0 || starting() {
		return
	}
	// Remove the agent only if it is the file of this process. The paths cannot be
	// compared, because they may contain symbolic links. Without /proc, the file of
	// this process is unknown, and the agent is removed.
	own, err := os.Stat(ownFile)
	file, fileErr := os.Stat(agentName)
	if fileErr == nil && (err != nil || os.SameFile(own, file)) {
		_ = os.Remove(agentName)
		_ = os.Remove(o.dir) // fails if there are other files
	}
}

// starting reports whether a session is about to start in the working directory: its
// file use-ID exists (see startingPrefix).
func starting() bool {
	entries, _ := os.ReadDir(".")
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), startingPrefix) {
			return true
		}
	}
	return false
}

// now returns the time of the session.
func (s *server) now() time.Duration { return time.Since(s.began) }

// handle serves one connection.
func (s *server) handle(socket *os.File) {
	conn := &relayConn{File: socket}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(helloTimeout))
	var decoder agent.Decoder
	buf := make([]byte, readSize)
	var peer *agent.Peer
	defer func() { s.detach(peer) }()
	for {
		receive := conn.Read
		if peer == nil {
			receive = conn.readFirst
		}
		n, err := receive(buf)
		if err != nil {
			return
		}
		_, _ = decoder.Write(buf[:n])
		for {
			m, err := decoder.Next()
			if err != nil {
				return
			}
			if m == nil {
				break
			}
			if peer != nil {
				err = s.receive(peer, m)
			} else if hello, ok := m.(*agent.Hello); ok {
				peer = s.hello(conn, hello)
			}
			if err != nil || peer == nil {
				return
			}
			_ = conn.SetReadDeadline(time.Time{})
		}
	}
}

// hello answers a Hello. It returns nil if the connection is to be closed.
func (s *server) hello(conn *relayConn, h *agent.Hello) *agent.Peer {
	s.mu.Lock()
	if h.Purpose != agent.PurposeAttach || s.closed {
		answer := s.answer(h)
		s.mu.Unlock()
		_ = conn.SetWriteDeadline(time.Now().Add(lastWrite))
		_, _ = conn.Write(agent.Append(nil, answer))
		return nil
	}
	starts := s.session == nil
	if starts {
		s.session = agent.NewSession(agent.SessionConfig{
			ID: s.opts.id, Build: buildID, Started: s.started, Terminal: s.opts.tty, Term: h.Term,
			Buffer: s.opts.buffer, Idle: s.opts.idle, Total: s.opts.total, Silence: s.opts.silence,
		})
	}
	peer, replaced, refused := s.session.Attach(h, s.now())
	if refused != nil {
		if starts {
			s.session = nil
		}
		s.mu.Unlock()
		_ = conn.SetWriteDeadline(time.Now().Add(lastWrite))
		_, _ = conn.Write(agent.Append(nil, refused))
		return nil
	}
	s.conns[peer] = conn
	if old := s.conns[replaced]; old != nil {
		delete(s.conns, replaced)
		old.Close()
	}
	if starts {
		s.startCommand()
	} else if peer.Fresh {
		go s.redraw()
	}
	s.applySize()
	// While s.mu is locked, watch cannot set s.closed, after which it calls
	// s.done.Wait. So Wait waits for this goroutine.
	s.done.Go(func() { s.send(peer, conn) })
	s.mu.Unlock()
	s.notify()
	return peer
}

// answer answers a Hello of a client that does not attach. s.mu is locked.
func (s *server) answer(h *agent.Hello) agent.Message {
	checked := s.session
	if checked == nil {
		checked = agent.NewSession(agent.SessionConfig{
			ID: s.opts.id, Build: buildID, Started: s.started, Terminal: s.opts.tty,
		})
	}
	if refused := checked.Check(h); refused != nil {
		return refused
	}
	if s.closed {
		return &agent.Refused{
			Reason: agent.ReasonEnded, Version: agent.Version, Build: buildID, Text: "the session has ended",
		}
	}
	info := checked.Info()
	info.PID, info.Mounts, info.Command = uint32(s.cmd.pid), s.mounts, s.opts.command
	if h.Purpose == agent.PurposeEnd {
		s.endCommand()
	}
	return &info
}

// notify makes watch look at the session again.
func (s *server) notify() {
	s.changed.Broadcast()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// receive passes a message to the session, and does what follows from it.
func (s *server) receive(peer *agent.Peer, m agent.Message) error {
	s.mu.Lock()
	err := s.session.Receive(peer, m, s.now())
	for _, number := range s.session.Signals() {
		s.cmd.signal(int(number))
	}
	s.applySize()
	s.mu.Unlock()
	if _, ok := m.(*agent.ExitAck); ok || err != nil {
		s.notify()
	} else {
		s.changed.Broadcast()
	}
	return err
}

// applySize sets the size of the terminal. s.mu is locked.
func (s *server) applySize() {
	if size, changed := s.session.Size(); changed {
		s.cmd.resize(size)
	}
}

// redraw changes the size for a moment, so that a full-screen program redraws. It
// does nothing while the shell itself has the terminal.
func (s *server) redraw() {
	if !s.cmd.foreign() {
		return
	}
	s.mu.Lock()
	size, _ := s.session.Size()
	s.mu.Unlock()
	if size.Rows < 2 {
		return
	}
	s.cmd.resize(agent.Size{Cols: size.Cols, Rows: size.Rows - 1})
	<-time.After(redrawDelay)
	s.mu.Lock()
	size, _ = s.session.Size()
	s.cmd.resize(size)
	s.mu.Unlock()
}

// detach removes a client. peer may be nil.
func (s *server) detach(peer *agent.Peer) {
	if peer == nil {
		return
	}
	s.mu.Lock()
	s.session.Detach(peer, s.now())
	delete(s.conns, peer)
	s.mu.Unlock()
	s.notify()
}

// send writes frames to a client until the connection ends.
func (s *server) send(peer *agent.Peer, conn *relayConn) {
	var buf []byte
	for {
		s.mu.Lock()
		for {
			if s.conns[peer] == nil {
				s.mu.Unlock()
				return
			}
			if buf = s.session.Next(peer, buf[:0], s.now()); len(buf) > 0 {
				break
			}
			if s.closed {
				s.mu.Unlock()
				return
			}
			s.changed.Wait()
		}
		s.mu.Unlock()
		s.changed.Broadcast() // there may be room for output
		if err := conn.writeFrames(buf); err != nil {
			conn.Close() // ends the goroutine that reads
			return
		}
	}
}

// watch applies the time limits. It returns when the session is over.
func (s *server) watch() {
	for {
		wait, over := s.check()
		if over {
			break
		}
		timer := time.NewTimer(wait)
		select {
		case <-s.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
	s.mu.Lock()
	s.closed = true
	for _, conn := range s.conns {
		_ = conn.SetWriteDeadline(time.Now().Add(lastWrite))
	}
	s.mu.Unlock()
	s.changed.Broadcast()
	s.done.Wait()
}

// check returns the time until the next check, or reports that the session is over.
func (s *server) check() (wait time.Duration, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.session == nil {
		return helloTimeout - now, now >= helloTimeout || s.ending
	}
	for _, peer := range s.session.Silent(now) {
		if conn := s.conns[peer]; conn != nil {
			conn.Close()
		}
		s.session.Detach(peer, now)
		delete(s.conns, peer)
	}
	s.changed.Broadcast() // Silent may have changed the owner: there may be room for output
	ended, since := s.cmd.ended()
	switch {
	case s.session.Finished(now):
		return 0, true
	case !s.session.Expired(now) && !s.ending:
		return max(s.session.Deadline()-now, time.Millisecond), false
	case !ended:
		s.expired = s.session.Expired(now)
		s.endCommand()
		// The end of the command wakes this goroutine. The limit is reached if output is
		// left for which there is no room, or if a process cannot be ended.
		left := s.endingAt + hangupDelay + termDelay + lastClients - now
		return left, left <= 0
	}
	// The command was ended by the agent. Clients get some seconds to receive that.
	left := since + lastClients - now
	return left, left <= 0 || len(s.conns) == 0 && s.session.Expired(now) || !s.session.Awaits(now)
}

// endCommand ends the command and its process groups. s.mu is locked.
func (s *server) endCommand() {
	if s.ending {
		return
	}
	s.ending, s.endingAt = true, s.now()
	if s.cmd.pid > 0 {
		go s.cmd.end()
	}
	go s.notify()
}

// errStopped means that the session is about to end.
var errStopped = errors.New("the session ends")
