package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kshell/internal/notice"
	"kshell/internal/resume"
	"kshell/internal/stream"
)

// Session is a stream.Session or, if the session agent runs the command, a
// resume.Session. Until the command starts, it tells the user what kshell is
// waiting for. It ends if the node does not answer within the StartTimeout.
type Session struct {
	connections
	agent   *resume.Session // nil if the agent does not run the command
	cmd     *Command
	observe func(stream.Event)
	limit   time.Duration
	probes  bool // the command may start without output, so the node is probed
	slow    *time.Timer
	line    *notice.Delayed // the progress until the command has started; nil if it is not shown
	started chan struct{}   // closed when the command has started
}

// connections are the methods that a stream.Session and a resume.Session have in
// common. Their comments are in package stream.
type connections interface {
	Run(ctx context.Context) error
	Redraw()
	Again()
	Drop(reason error)
	Conn() *stream.Conn
	RoundTrip(ctx context.Context) (took time.Duration, ok bool)
}

// NewSession returns a session of the command. observe is called with the
// session's events; see stream.NewSession.
func (c *Command) NewSession(d stream.Driver, observe func(stream.Event), set stream.Settings) *Session {
	s := &Session{
		cmd: c, observe: observe, limit: set.StartTimeout, started: make(chan struct{}),
		probes: !set.WithOutput && !set.UnlimitedDial,
	}
	if r := c.resumption; r != nil {
		r.session = resume.New(d, s.handle, set, r.config)
		s.connections, s.agent, s.probes = r.session, r.session, false
		return s
	}
	s.connections = stream.NewSession(d, s.handle, set)
	return s
}

// ID returns the ID of a session of the session agent.
func (s *Session) ID() string { return s.agent.ID() }

// Detach detaches the client from a session of the session agent. The command
// continues.
func (s *Session) Detach() { s.agent.Detach() }

// handle is the observer of the stream.Session.
func (s *Session) handle(e stream.Event) {
	if _, ok := e.(stream.Started); ok {
		s.slow.Stop()
		s.endLine()
		close(s.started)
		s.cmd.env.Server.started.Store(true)
	}
	s.observe(e)
}

// agentStarts reports whether the session agent runs the command, or is being
// uploaded.
func (s *Session) agentStarts() bool {
	return s.agent != nil && (s.agent.Begun() || s.cmd.uploading.Load())
}

// Run runs the session; see stream.Session.Run.
func (s *Session) Run(ctx context.Context) error {
	deadline := time.Now().Add(s.limit)
	ctx, end := context.WithCancelCause(ctx)
	if s.limit > 0 && !s.cmd.cluster.Prompts() { // otherwise, no Started event comes, or the line may be that of a prompt
		s.line = s.cmd.env.Notice.ProgressAfter(notice.ProgressDelay, "waiting for the command to start")
		defer s.endLine()
	}
	s.slow = time.AfterFunc(s.cmd.limits.Slow, func() {
		defer s.cmd.env.Cleanup.OnPanic()
		// Until the lookup has ended, slowTransport reports that the server does
		// not answer.
		t := s.cmd.Target()
		t.await(ctx)
		if ctx.Err() == nil && !s.hasStarted() && !t.lookup.failed() && !s.agentStarts() {
			s.endLine()
			s.cmd.noteStarting(s.limit)
		}
	})
	defer s.slow.Stop()
	var probe sync.WaitGroup
	defer probe.Wait()
	defer end(nil)
	if s.probes {
		probe.Go(func() {
			defer s.cmd.env.Cleanup.OnPanic()
			select {
			case <-ctx.Done():
			case <-s.started:
				s.probe(ctx, end, deadline)
			}
		})
	}
	return s.connections.Run(ctx)
}

// endLine removes the progress line.
func (s *Session) endLine() {
	if s.line != nil {
		s.line.End()
	}
}

// hasStarted reports whether the command has started.
func (s *Session) hasStarted() bool {
	select {
	case <-s.started:
		return true
	default:
		return false
	}
}

// probe finds out whether the node of an opened session answers. It does
// nothing if the command writes output soon. Otherwise it runs another command
// in the container. Any answer means that the session's command is running
// without output. If there is no answer by the deadline, probe ends the
// session.
func (s *Session) probe(ctx context.Context, end context.CancelCauseFunc, deadline time.Time) {
	c := s.cmd
	silent := func() bool { return ctx.Err() == nil && c.out.count() == 0 && c.err.count() == 0 }
	select {
	case <-ctx.Done():
	case <-time.After(min(c.limits.Slow, s.limit/2)):
	}
	if !silent() {
		return
	}
	slow := time.AfterFunc(c.limits.Slow, func() {
		defer c.env.Cleanup.OnPanic()
		if silent() {
			c.noteStarting(s.limit)
		}
	})
	defer slow.Stop()
	limited, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	err := c.RunInternal(limited, []string{"true"})
	if err != nil && errors.Is(limited.Err(), context.DeadlineExceeded) && silent() {
		end(&stream.StartError{Within: s.limit})
	}
}

// noteStarting tells the user which node or server kshell is waiting for.
func (c *Command) noteStarting(limit time.Duration) {
	starter := "the API server at " + c.cluster.Transport().Server()
	if node := c.Target().Node(); node != "" {
		starter = "node " + node
	}
	c.env.Notice.Note("waiting for %s to start the command (up to %v, press Ctrl-C to cancel)", starter, limit)
}

// attemptObserver tells the user about the connection attempts of a session
// without a terminal.
type attemptObserver struct {
	notice  *notice.Printer
	resumes bool // a new connection does not start the command again

	begin time.Time // when the connection was lost; zero if a connection is open, or none was opened so far
	cause error     // the last failure
	quiet bool      // the user was told that the server does not answer
	out   bool      // the user was told that the network is out
	slow  bool      // the user was told that the server does not answer the attempt to reconnect
}

func (o *attemptObserver) observe(e stream.Event) {
	switch e := e.(type) {
	case stream.Failed:
		o.cause, o.quiet, o.out, o.slow = e.Err, false, false, false
		var lost *stream.LostError
		if errors.As(e.Err, &lost) && o.begin.IsZero() {
			o.begin = time.Now()
		}
	case stream.Waiting:
		var lost *stream.LostError
		if errors.As(o.cause, &lost) && !o.resumes {
			o.notice.WarnAlways("%s; the command is run again in %s", o.cause, Seconds(e.Delay))
			return
		}
		o.notice.WarnAlways("%s; trying again in %s", o.cause, Seconds(e.Delay))
	case stream.Unanswered:
		var lost *stream.LostError
		if !o.slow && errors.As(o.cause, &lost) { // before the first connection, Session itself prints a message
			o.slow = true
			o.notice.Note("connecting: no answer for %s", Seconds(e.For))
		}
	case stream.Overdue:
		switch {
		case e.For == 0 && o.quiet:
			o.quiet, o.out = false, false
			o.notice.Note("the server answers again")
		case e.NetworkOut && !o.out:
			o.quiet, o.out = true, true
			o.notice.Note("%s", DescribeOutage(e))
		case e.For > 0 && !o.quiet:
			o.quiet = true
			o.notice.Note("no reply for %s", Seconds(e.For))
		}
	}
}

// connected is called when a connection was opened. It tells the user that the
// connection is restored, if the command was not started again.
func (o *attemptObserver) connected() {
	if o.resumes && !o.begin.IsZero() {
		o.notice.Note("connected again after %s: the command continues", Seconds(time.Since(o.begin)))
	}
	o.begin = time.Time{}
}

// DescribeOutage returns the message that the network is out.
func DescribeOutage(e stream.Overdue) string {
	return fmt.Sprintf("network out: no reply for %s (the connection is kept for up to %s)",
		Seconds(e.For), Seconds(stream.MaxOutage))
}

// Seconds formats d in seconds, at least "1 s".
func Seconds(d time.Duration) string {
	return fmt.Sprintf("%d s", max(1, int(d.Round(time.Second)/time.Second)))
}
