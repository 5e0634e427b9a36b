package resume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kshell/internal/agent"
	"kshell/internal/group"
	"kshell/internal/stream"
)

const (
	// sendSize is the size of the buffer for bytes to send. agent.Client.Next
	// appends not much more than 32 KiB.
	sendSize = 40 << 10
	// maxStderr is how much of the relay's stderr is kept, in bytes.
	maxStderr = 4 << 10
	// checkEvery is the interval between checks of a relay.
	checkEvery = 500 * time.Millisecond
	// exitNoSession is the exit code of "kshell-agent attach" if the session
	// does not exist.
	exitNoSession = 3
	// exitFailed is the exit code of "kshell-agent start" if it has failed
	// before the command can have been started.
	exitFailed = 1
	// exitNotExecutable and exitNotFound are the exit codes of a shell that
	// cannot run a program.
	exitNotExecutable = 126
	exitNotFound      = 127
)

// The reasons for the loss of a relay.
var (
	errAsleep    = errors.New("the computer was asleep")
	errNoWelcome = errors.New("the session agent does not answer")
	errClosed    = errors.New("the relay has ended")
)

// relay is one connection to the agent. Its Write receives the remote stdout.
type relay struct {
	*stream.Relay
	session *Session
	ctx     context.Context // of the session

	setup    negotiation // the dialogue before the frames of the agent, or nil; protected by Session.mu
	attaches bool        // the command attaches to a session
	stderr   limitedBuffer

	// Used by the goroutine of Run.
	framed  bool  // the relay carries frames: there is no dialogue, or it is done
	failure error // the error of Write, which ended the relay; see result

	// Protected by Session.mu.
	answered bool          // something has arrived
	acked    bool          // the acknowledgement of the exit was sent
	handling bool          // Write handles events, so nothing is read
	waiting  time.Duration // since when an answer of the script or the Welcome is expected
}

// useRelay is called with each connection, and returns how it ended.
func (s *Session) useRelay(ctx context.Context, conn *stream.Relay) error {
	r := &relay{Relay: conn, session: s, ctx: ctx}
	r.start()
	return r.result(r.run(ctx))
}

// run copies between the connection and the client until the relay ends.
func (r *relay) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	helpers := group.New(func() { r.session.end(errPanicked) })
	defer helpers.Wait()
	defer r.Drop(errClosed) // so that send returns
	defer cancel()
	helpers.Go(func() { r.send(ctx) })
	helpers.Go(func() { r.watch(ctx) })
	return r.Copy(ctx, r, &r.stderr)
}

// start prepares the client for the relay.
func (r *relay) start() {
	s := r.session
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open, r.attaches, r.waiting = true, s.attach, s.now()
	if s.attach {
		r.beginFrames()
		return
	}
	r.setup = s.newSetup()
}

// beginFrames begins the exchange of frames with the agent. Session.mu is locked.
func (r *relay) beginFrames() {
	s := r.session
	r.setup, r.framed, r.waiting = nil, true, s.now()
	if s.set.Window != nil {
		if width, height, ok := s.set.Window.Size(); ok {
			s.client.Resize(agent.Size{Cols: width, Rows: height})
		}
	}
	s.client.Connect()
	s.pulse.restart(s.now())
	s.attach = true
}

// Write receives the stdout of the relay. An error ends the relay.
func (r *relay) Write(p []byte) (int, error) {
	todo, events, err := r.receive(p)
	s := r.session
	if todo.send {
		wake(s.toSend)
	}
	for _, event := range events {
		if err == nil {
			err = r.handle(event)
		}
	}
	if len(events) > 0 {
		r.handled()
	}
	if err != nil {
		r.failure = err
		return 0, err
	}
	if todo.write || len(events) > 0 {
		wake(s.toWrite)
	}
	wake(s.toRead)
	return len(p), nil
}

// todo is what other goroutines must do after bytes were received. Each wakeup of a
// goroutine takes processor time, and bulk output arrives in many small pieces.
type todo struct{ send, write bool }

// receive passes bytes to the dialogue or to the client, and returns the events of
// the client.
func (r *relay) receive(p []byte) (todo todo, events []agent.Message, err error) {
	s := r.session
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	r.answered = true
	if r.setup != nil {
		r.waiting, todo.send = now, true
		if p, err = r.setup.Receive(p, now); err != nil {
			return todo, nil, err
		}
		s.dir = r.setup.Dir()
		if !r.setup.Done() {
			return todo, nil, nil
		}
		r.beginFrames()
	}
	if len(p) == 0 {
		return todo, nil, nil
	}
	s.pulse.heard()
	attached, answers := s.client.Attached(), s.client.Answers()
	if !attached {
		s.hold = true
	}
	err = s.client.Receive(p, now)
	if s.client.Answers() != answers {
		close(s.answers)
		s.answers = make(chan struct{})
	}
	s.feed()
	todo.write = s.mustWrite(now)
	todo.send = todo.send || s.client.Due()
	events = s.client.Events()
	r.handling = len(events) > 0
	return todo, events, err
}

// handled is called after events were handled. That may have taken a long time, for
// example because a message was shown slowly. Nothing was read in that time, so an
// answer of the agent may have arrived already.
func (r *relay) handled() {
	s := r.session
	s.mu.Lock()
	defer s.mu.Unlock()
	r.handling = false
	s.pulse.woke(s.now())
}

// handle handles an event of the client.
func (r *relay) handle(event agent.Message) error {
	switch event := event.(type) {
	case *agent.Welcome:
		return r.welcomed(event)
	case *agent.Presence:
		r.session.notify(Presence{Name: event.Name, Attached: event.Attached})
	}
	return nil
}

// welcomed is called when the agent has accepted the client on the relay.
func (r *relay) welcomed(w *agent.Welcome) error {
	s := r.session
	s.mu.Lock()
	first := !s.begun
	s.begun = true
	s.mu.Unlock()
	if w.Session != s.ID() {
		return &GoneError{ID: s.ID(), Reason: "another session answers"}
	}
	if first && s.set.StartTimeout > 0 {
		s.relays.Notify(stream.Started{})
	}
	if err := r.Accept(r.ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.hold = false
	s.mu.Unlock()
	if !first {
		return nil
	}
	if others := int(w.Clients) - 1; others > 0 {
		s.notify(Joined{Others: others})
	}
	if w.Terminal && w.Term != s.cfg.Term {
		s.notify(OtherTerm{Term: w.Term})
	}
	if s.set.Stdin != nil {
		s.reading.Go(func() { s.readStdin(r.ctx) })
	}
	return nil
}

// send sends frames, or the bytes of the dialogue, until the relay ends.
func (r *relay) send(ctx context.Context) {
	buf := make([]byte, 1, sendSize)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var wait time.Duration
		buf, wait = r.next(buf[:1])
		if len(buf) > 1 {
			if r.Send(buf) != nil {
				return // Copy returns how the relay has ended
			}
			r.sent()
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-r.session.toSend:
		case <-timer.C:
		}
	}
}

// sent is called after bytes were sent.
func (r *relay) sent() {
	s := r.session
	s.mu.Lock()
	defer s.mu.Unlock()
	r.acked = s.client.Done()
}

// next appends the bytes to send now to buf. If wait is not 0, it must be called
// again after that time.
func (r *relay) next(buf []byte) (result []byte, wait time.Duration) {
	s := r.session
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if r.setup != nil {
		return r.setup.Next(buf, now), 0
	}
	if s.redraw && s.client.Attached() {
		s.redraw = false
		buf = s.appendWiderSize(buf, now)
	}
	before := len(buf)
	buf = s.client.Next(buf, now)
	s.pulse.sent(len(buf) - before)
	return buf, s.client.Wait(now)
}

// watch checks the relay, and drops or replaces it if it does not answer.
func (r *relay) watch(ctx context.Context) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		if !r.check(late(last, now)) {
			return
		}
		last = now
		wake(r.session.toSend)
	}
}

// late returns how much later than expected a check comes. The monotonic clock
// of some systems stops while the computer is asleep, so the wall clock is used.
func late(last, now time.Time) time.Duration { return now.Round(0).Sub(last.Round(0)) - checkEvery }

// check checks the relay once. It returns false if it has dropped or replaced it.
func (r *relay) check(late time.Duration) bool {
	s := r.session
	s.mu.Lock()
	now, since := s.now(), time.Duration(0)
	silent, attached := now-r.waiting, s.client.Attached()
	overdue, begun := false, s.begun
	if attached {
		if late >= asleepAfter {
			s.pulse.woke(now)
			s.client.Ping()
			s.pulse.ping(now)
		}
		since, overdue = s.pulse.overdue(now, s.client.RoundTrip())
		overdue = overdue && !r.handling
		if s.pulse.due(now) {
			s.client.Ping()
			s.pulse.ping(now)
		}
	}
	setup := r.setup != nil
	var failed error
	if setup {
		_, failed = r.setup.Receive(nil, now) // it may be silent for too long
	}
	answered := r.answered
	s.mu.Unlock()
	limit := s.set.StartTimeout
	switch {
	case late >= longSleep:
		r.Replace(errAsleep)
	case overdue:
		r.Replace(fmt.Errorf("the session agent has not answered for %.0f s", since.Seconds()))
	case !begun && !answered && limit > 0 && now >= limit && silent >= time.Second:
		r.Drop(&stream.StartError{Within: limit})
	case failed != nil:
		r.Drop(failed)
	case !setup && !attached && silent >= s.limits.welcome:
		r.Drop(errNoWelcome)
	default:
		return true
	}
	return false
}

// result returns the result of a relay whose Copy has returned err.
func (r *relay) result(err error) error {
	s := r.session
	s.mu.Lock()
	s.open = false
	_, finished := s.client.Exit()
	s.finished = s.finished || finished
	acked, left := r.acked, s.detach
	s.mu.Unlock()
	switch {
	case finished && acked:
		return errFinished
	case left:
		return ErrDetached
	case r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case r.failure != nil:
		err = r.failed(r.failure)
	default:
		err = r.ended(err)
	}
	var unable *UnableError
	if finished && gone(err) { // the agent has received the acknowledgement
		return errFinished
	}
	if !errors.As(err, &unable) && r.ctx.Err() == nil {
		err = s.driver.Ended(r.ctx, err)
	}
	if r.framed && !gone(err) {
		s.sawHello = true
	}
	return err
}

func gone(err error) bool {
	var gone *GoneError
	return errors.As(err, &gone)
}

// failed returns the result of a relay that Write has ended with err.
func (r *relay) failed(err error) error {
	id := r.session.ID()
	var refused *agent.RefusedError
	switch {
	case errors.As(err, &refused):
		return r.refused(refused)
	case errors.Is(err, agent.ErrForgotten):
		return &GoneError{ID: id, Reason: err.Error()}
	case errors.Is(err, agent.ErrTooLong), errors.Is(err, agent.ErrMalformed), errors.Is(err, agent.ErrUnknown),
		errors.Is(err, agent.ErrGap), errors.Is(err, agent.ErrTooMuch), errors.Is(err, agent.ErrUnexpected):
		return &stream.LostError{Err: err}
	}
	return err
}

// refused returns the result of a relay on which the agent has refused the
// client.
func (r *relay) refused(err *agent.RefusedError) error {
	id := r.session.ID()
	switch err.Refused.Reason {
	case agent.ReasonUnable:
		return &UnableError{Reason: err.Refused.Text}
	case agent.ReasonEnded, agent.ReasonOffset:
		return &GoneError{ID: id, Reason: err.Refused.Text}
	case agent.ReasonTooMany:
		if r.session.Begun() {
			return &stream.LostError{Err: err}
		}
	}
	return err
}

// ended returns the result of a relay whose command or connection has ended
// with err.
func (r *relay) ended(err error) error {
	id := r.session.ID()
	var exit *stream.ExitError
	var remote *stream.RemoteError
	var lost *stream.LostError
	var start *stream.StartError
	var unable *UnableError
	switch {
	case errors.As(err, &unable):
		return unable
	case errors.As(err, &start):
		return start
	case errors.As(err, &lost):
		return lost
	case err == nil:
		return r.lost(errClosed)
	case errors.As(err, &remote):
		switch {
		case r.attaches && remote.Start == stream.StartNotFound:
			return r.isGone(&GoneError{ID: id, Reason: "its agent does not exist any more"})
		case !r.attaches && !r.framed && remote.Start != stream.StartOther:
			return &UnableError{Reason: remote.Cause(), Err: remote}
		case !r.attaches && !r.framed:
			return remote
		}
		return &stream.LostError{Err: remote}
	case errors.As(err, &exit):
		switch {
		case exit.Code > signaled: // a signal may have ended the relay, but not the agent
			return r.lost(exit)
		case !r.attaches && !r.session.Begun() && r.nothingStarted(exit.Code):
			return &UnableError{Reason: r.withStderr(exit).Error()}
		case exit.Code == exitNoSession:
			return r.isGone(&GoneError{ID: id})
		case exit.Code == exitNotFound:
			return r.isGone(&GoneError{ID: id, Reason: "its agent does not exist any more"})
		}
		return r.lost(exit)
	}
	return err
}

// nothingStarted reports whether the exit code of a relay that was to start the
// agent shows that the command was not started: the script has failed before it ran
// the agent, or could not run it, or the agent has failed early. With any other code,
// such as 2 after a crash of the agent's Go runtime, the command may run.
func (r *relay) nothingStarted(code int) bool {
	return !r.framed || code == exitFailed || code == exitNotExecutable || code == exitNotFound
}

// isGone returns the result of a relay whose command reports that there is no
// session. If no agent can have received a Hello so far, no command has run, and
// the agent may be started again.
func (r *relay) isGone(err *GoneError) error {
	s := r.session
	switch {
	case s.Begun():
		return err
	case s.sawHello:
		if s.cfg.Start != nil {
			err.Reason = "the connection was lost while it was being started, and it is not known whether the command has run"
		}
		return err
	}
	s.mu.Lock()
	s.attach = false
	s.mu.Unlock()
	return &stream.LostError{Err: err}
}

// lost returns a LostError with the reason and the relay's stderr.
func (r *relay) lost(reason error) error { return &stream.LostError{Err: r.withStderr(reason)} }

// withStderr appends the first line of the relay's stderr to err.
func (r *relay) withStderr(err error) error {
	line, _, _ := strings.Cut(strings.TrimSpace(string(r.stderr.buf)), "\n")
	if line == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, strings.TrimPrefix(line, "kshell-agent: "))
}

// limitedBuffer keeps the first maxStderr bytes.
type limitedBuffer struct{ buf []byte }

// Write implements io.Writer. It never fails.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.buf = append(b.buf, p[:min(len(p), maxStderr-len(b.buf))]...)
	return len(p), nil
}
