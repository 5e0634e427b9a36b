package nodeshell

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"kshell/internal/interactive"
	"kshell/internal/node"
	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/stream"
)

// attachSession is a session that is attached to the shell of a pod. The shell
// is the main process of the pod. The session may span several connections, all
// to the same shell. attachSession is the stream.Driver of the session, its
// interactive.Detacher, and the node.ReplaySource of its output.
type attachSession struct {
	pod     *Pod
	id      string // identifies this kshell among the clients of the shell
	command *remote.Command
	console *interactive.Console
	driver  stream.Driver // of command
	end     shellEnd

	// Set by run before the session starts.
	ctx     context.Context
	leave   context.CancelCauseFunc
	session *interactive.Session
	replay  *node.Replay

	// Used by the goroutine of the session.
	shown     bool // output of the shell was shown before this connection, to this or another client
	connected bool // there was a connection
	outage    bool // the connection before this one was lost
	stopJoin  context.CancelFunc

	background sync.WaitGroup // the goroutines that join and detach, and that watch the pod
}

// historyLines is the number of lines of earlier output that are shown on the
// first connection to a shell that was left running.
const historyLines = 200

// attach attaches the local terminal to the shell of the pod. existing is set
// if the shell was left running. attach stores the command in started before it
// makes requests in the pod.
func (p *Pod) attach(
	ctx context.Context, in io.Reader, existing bool, started *atomic.Pointer[remote.Command],
) error {
	m := p.manager
	env := m.env
	env.In = in
	command, err := remote.New(env, m.cluster, p.Target(), m.options.Command)
	if err != nil {
		return err
	}
	nodes, err := m.backgroundNodes()
	if err != nil {
		return err
	}
	started.Store(command)
	s := &attachSession{pod: p, id: rand.Text(), command: command, shown: existing, stopJoin: func() {}}
	s.end = shellEnd{pod: p, nodes: nodes, pods: m.cluster.BackgroundPods(), reported: make(chan node.Termination, 1)}
	console := m.options.Console
	console.SameShell, console.Detacher = true, s
	s.console = interactive.New(command, console)
	s.driver = command.Driver(func(t remote.Target) stream.Request { return t.Attach(m.options.Command.Protocols) })
	if existing {
		if err := s.exec(ctx, node.HeartbeatCommand(false, s.id)); err != nil {
			return err
		}
	}
	p.session.Store(s)
	if !existing {
		p.notice.Note("the shell's output is written to the container's log on the node (--no-log prevents that)")
	}
	defer p.startHeartbeats(ctx, command, s.id)()
	return s.run(ctx)
}

// run attaches the local terminal until the shell ends or kshell leaves it.
func (s *attachSession) run(ctx context.Context) (err error) {
	if s.session, err = s.console.Open(); err != nil {
		return err
	}
	defer s.session.Close()
	s.ctx, s.leave = context.WithCancelCause(ctx)
	s.replay = &node.Replay{Output: s.session.Output(), Source: s}
	if s.shown {
		s.replay.StartAtTail(historyLines)
	}
	set := s.command.Settings()
	set.Stdout = s.replay
	defer s.background.Wait()
	defer s.leave(nil)
	s.background.Go(func() {
		defer s.pod.manager.env.Cleanup.OnPanic()
		s.end.watch(s.ctx)
	})
	err = s.session.Run(s.ctx, s, set)
	var lost *stream.LostError
	if errors.As(err, &lost) { // while conclude makes requests, Ctrl-C must send a signal
		s.console.Tidy()
		s.session.Close()
	}
	return s.conclude(s.ctx, err)
}

// Dial implements stream.Driver. If the server refuses to attach, the shell may
// have ended.
func (s *attachSession) Dial(ctx context.Context) (*stream.Conn, error) {
	conn, err := s.driver.Dial(ctx)
	var refused *stream.HandshakeError
	if errors.As(err, &refused) && s.end.check(ctx) {
		return nil, &stream.NotReadyError{Err: errShellEnded, Final: true}
	}
	return conn, err
}

// errShellEnded means that the shell ended before kshell could attach to it
// again.
var errShellEnded = errors.New("the shell has ended")

// Opened implements stream.Driver. Until Opened returns, the terminal is not
// raw, so Ctrl-C sends a signal.
func (s *attachSession) Opened(ctx context.Context, conn *stream.Conn) error {
	if err := s.reattach(s.ctx); err != nil {
		return err
	}
	s.outage, s.connected = s.connected, true
	s.startJoin(s.ctx)
	return s.driver.Opened(ctx, conn)
}

// reattach makes the pod require heartbeats again, on the first connection to a
// shell that was left running.
func (s *attachSession) reattach(ctx context.Context) error {
	p := s.pod
	if !p.keep.Load() {
		return nil
	}
	if err := s.exec(ctx, node.ReattachCommand()); err != nil {
		p.notice.WarnAlways("pod %s may end after %v unless a client attaches to it",
			p.object.Name, p.options.HeartbeatTimeout)
		return err
	}
	p.keep.Store(false)
	return nil
}

// exec runs one of kshell's own commands in the pod, such as that of
// node.DetachCommand. The user waits for the result.
func (s *attachSession) exec(ctx context.Context, command []string) error {
	err := withTimeout(ctx, s.pod.manager.options.Limits.Exec, func(ctx context.Context) error {
		return s.command.RunInternal(ctx, command)
	})
	if err != nil {
		return fmt.Errorf("cannot reach the shell in pod %s: %w", s.pod.object.Name, err)
	}
	return nil
}

// Ended implements stream.Driver. The server reports success no matter how the
// shell ended, even if the shell is still running. Therefore Ended requests the
// pod's status.
func (s *attachSession) Ended(ctx context.Context, err error) error {
	s.stopJoin()
	var lost *stream.LostError
	var remote *stream.RemoteError
	if errors.As(err, &lost) || err != nil && !errors.As(err, &remote) {
		return err
	}
	if s.end.wait(ctx) {
		return nil // conclude returns how the shell ended
	}
	if err == nil {
		err = errors.New("the server ended the stream while the shell was running")
	}
	return &stream.LostError{Err: err}
}

// errDetached means that kshell left the shell running.
var errDetached = errors.New("detached")

// Detach implements interactive.Detacher: it makes the pod run without
// heartbeats, and ends the session.
func (s *attachSession) Detach() {
	s.background.Go(func() {
		defer s.pod.manager.env.Cleanup.OnPanic()
		switch err := s.exec(s.ctx, node.DetachCommand()); {
		case err == nil:
			s.leave(errDetached)
		case s.ctx.Err() == nil: // the session has not ended in the meantime
			s.pod.notice.WarnAlways("cannot leave the shell running: %s", err)
		}
	})
}

// conclude returns the result of the session, which has ended with err, and
// prints why the shell ended.
func (s *attachSession) conclude(ctx context.Context, err error) error {
	s.stopJoin()
	p, end := s.pod, &s.end
	var lost *stream.LostError
	if errors.As(err, &lost) && ctx.Err() == nil {
		end.check(ctx)
	}
	switch {
	case errors.Is(context.Cause(ctx), errDetached):
		s.console.Tidy()
		p.leaveRunning()
		return nil
	case end.termination != nil:
		limited, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		missing := s.replay.WriteRest(limited)
		if missing != nil && ctx.Err() == nil && !end.podGone && !end.termination.Deleted {
			p.notice.WarnAlways("%s: the end of the output may be missing", missing)
		}
		return s.exitError(*end.termination)
	case end.podGone:
		s.console.Tidy()
		return errPodDeleted
	}
	var failed error
	if errors.As(err, &lost) {
		failed = s.replay.WriteReceived(errNotJoined)
	}
	s.console.Tidy()
	if failed != nil {
		p.notice.WarnAlways("the end of the output could not be written: %s", failed)
	}
	return outcome.ContextCause(ctx, err)
}

// errNotJoined means that the session ended before the output of its last
// connection was joined to the earlier output.
var errNotJoined = errors.New("the session ended before the container's log was read")

// errPodDeleted means that the pod was deleted while the shell was running.
var errPodDeleted = errors.New("the pod of the shell was deleted")

// exitError returns the exit code of the shell as an error, and prints why the
// shell ended if it did not exit normally.
func (s *attachSession) exitError(t node.Termination) error {
	if t.Deleted {
		s.console.Tidy()
		return errPodDeleted
	}
	n := s.pod.notice
	switch t.Reason {
	case "":
	case "DeadlineExceeded":
		s.console.Tidy()
		n.NoteAlways("the shell has reached its time limit (--ttl %v)", s.pod.options.TTL)
	default:
		s.console.Tidy()
		n.NoteAlways("the shell was ended: %s", t.Reason)
	}
	if t.Code == 0 {
		return nil
	}
	return &stream.ExitError{Code: t.Code}
}
