package resume

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"kshell/internal/agent"
	"kshell/internal/group"
	"kshell/internal/stream"
)

// Config describes the session of the agent, and the client that takes part in
// it.
type Config struct {
	// Start is the command to start. If it is nil, the client attaches to the
	// session ID, which runs already.
	Start *Start
	// ID and Dir are the session to attach to, and the directory of its agent.
	// They are used only if Start is nil.
	ID, Dir string

	Client agent.ClientID // the identity of this client; zero means a random one
	Name   string         // the name that other clients see, such as user@host
	Term   string         // the local TERM

	// Notify, if not nil, is called with each notice: from any goroutine, but
	// not from two at the same time.
	Notify func(Notice)
}

// Session runs a command of the session agent, over one relay after another.
// The methods other than Run may be called from any goroutine.
//
// Input is kept until the agent has acknowledged it, so all keys that are typed
// while no relay is open are sent later, each of them once. That includes Ctrl-C,
// Ctrl-D and Enter. In a stream.Session, they have a meaning for kshell during an
// outage. Here they belong to the command, which still runs. Any input during the
// wait before an attempt starts the attempt, but at most once per second.
//
// A relay that does not answer is replaced, because that loses no data. See pulse
// for the time limit. A relay is also replaced if the computer was asleep for
// longSleep.
type Session struct {
	cfg    Config
	set    stream.Settings
	driver stream.Driver
	relays *stream.Relays
	begin  time.Time // see now
	limits limits

	// newSetup returns the dialogue that starts the agent on a relay.
	newSetup func() negotiation

	// Each channel has a capacity of 1. A value wakes the goroutine that, in this
	// order, sends on the relay, writes output, reads stdin, or shows the progress
	// of the upload.
	toSend, toWrite, toRead, toShow chan struct{}

	collected *time.Timer // wakes the goroutine that writes output; see mustWrite

	exited  chan struct{} // closed when the exit is known and all output was written
	left    chan struct{} // closed when Leave was sent or cannot be sent
	leaving sync.Once

	notifying sync.Mutex // held during a call of Config.Notify

	// Used by the goroutine of Run.
	sawHello bool         // an agent may have received a Hello, so the command may have run
	reading  *group.Group // the goroutine that reads stdin

	mu       sync.Mutex // protects the following
	end      func(error)
	client   *agent.Client
	id       string // of the session
	dir      string // of the agent
	open     bool   // a relay is open
	attach   bool   // the command of the next relay attaches, because an agent may run
	dialed   bool   // an attempt to open a relay was made
	begun    bool   // a Welcome has arrived
	hold     bool   // no output is written, because Driver.Opened has not returned yet
	detach   bool   // Detach was called
	redraw   bool   // Redraw was called
	finished bool   // the exit is known and all output was written
	pending  []byte
	eof      bool // the end of stdin follows pending
	tried    time.Duration
	progress [2]int64      // the newest progress of the upload; see Start.Progress
	wrote    time.Duration // when mustWrite last returned true for output
	answers  chan struct{} // closed at the next answer to a ping
	pulse    pulse
}

// limits are the time limits of a session. Tests set them.
type limits struct {
	welcome time.Duration // from the open relay, or the end of the setup, to the Welcome
	last    time.Duration // from the end of the command, or Detach, to the end of the relay
	write   time.Duration // from the end of the context to the end of a write that blocks
}

var defaultLimits = limits{welcome: 15 * time.Second, last: 2 * time.Second, write: 2 * time.Second}

// negotiation is the dialogue that starts the agent on a relay. *Setup implements
// it.
type negotiation interface {
	Receive(p []byte, now time.Duration) (rest []byte, err error)
	Next(buf []byte, now time.Duration) []byte
	Done() bool
	Dir() string
}

// New returns a session that is ready to run. d opens the relays: each of them
// must run the command that Argv returns at that time, with stdin, stdout and
// stderr, and without a terminal. Driver.Opened is called when the agent has
// accepted the client on the relay. observe, if not nil, is called with each
// event: from any goroutine, but not from two at the same time.
//
// Of set, these are used: LinkSettings, Stdin, Stdout, Stderr, Window,
// Interactive, and Keepalive, which is the interval of the pings to the agent.
// StartTimeout limits the time to the first answer on a relay, and has the event
// stream.Started. Stdin is not read before the first Welcome. If Interactive is
// set, up to 1 MiB of stdin is read that the agent cannot receive yet, so that
// keys with a local meaning are found.
func New(d stream.Driver, observe func(stream.Event), set stream.Settings, cfg Config) *Session {
	if cfg.Client == (agent.ClientID{}) {
		_, _ = rand.Read(cfg.Client[:]) // never fails
	}
	s := &Session{
		cfg: cfg, set: set, driver: d, begin: time.Now(), limits: defaultLimits,
		toSend: make(chan struct{}, 1), toWrite: make(chan struct{}, 1), toRead: make(chan struct{}, 1),
		toShow: make(chan struct{}, 1),
		exited: make(chan struct{}), left: make(chan struct{}), answers: make(chan struct{}),
		end: func(error) {}, dir: cfg.Dir, pulse: newPulse(set.Keepalive), wrote: -collectTime,
	}
	s.collected = time.AfterFunc(time.Hour, func() { wake(s.toWrite) })
	s.collected.Stop()
	build := ""
	s.id = cfg.ID
	if cfg.Start != nil {
		s.id = cfg.Start.ID
		start := *cfg.Start
		if start.Progress != nil {
			start.Progress = s.showProgress
		}
		s.newSetup = func() negotiation { return start.NewSetup() }
		build = cfg.Start.Build
	} else {
		s.sawHello, s.attach = true, true
	}
	s.client = agent.NewClient(agent.ClientConfig{ID: cfg.Client, Build: build, Name: cfg.Name, Term: cfg.Term})
	if set.StartTimeout > 0 {
		s.set.ConnectTimeout = min(set.ConnectTimeout, set.StartTimeout)
	}
	s.relays = stream.NewRelays(dialer{d, s}, s.observer(observe), s.set.LinkSettings, s.useRelay)
	return s
}

// dialer is a stream.Driver that prepares each call of Dial. Before the command
// has started, it limits the time of Dial; see stream.Settings.
type dialer struct {
	stream.Driver
	session *Session
}

// Dial implements stream.Driver.
func (d dialer) Dial(ctx context.Context) (*stream.Conn, error) {
	s := d.session
	s.mu.Lock()
	if !s.attach && s.dialed {
		s.id = NewID()
	}
	s.dialed = true
	s.mu.Unlock()
	if limit := s.set.StartTimeout; limit > 0 && !s.set.UnlimitedDial && !s.Begun() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, s.begin.Add(limit), &stream.StartError{Within: limit})
		defer cancel()
	}
	return d.Driver.Dial(ctx)
}

// observer returns an observer that passes events on until the exit is known and
// all output was written. After that, a lost relay has no effect for the user.
func (s *Session) observer(observe func(stream.Event)) func(stream.Event) {
	if observe == nil {
		return nil
	}
	return func(e stream.Event) {
		if !s.isFinished() {
			observe(e)
		}
	}
}

// ErrDetached means that the user has detached from the session, which
// continues.
var ErrDetached = errors.New("detached from the session")

// errFinished is the cause with which the session is canceled after the end of
// the command. Run returns the outcome of the command instead.
var errFinished = errors.New("the command has ended")

// errPanicked is the cause with which the session is canceled after a panic in
// one of its goroutines. Run panics instead of returning it.
var errPanicked = errors.New("a goroutine of the session panicked")

// Run opens the first relay, and returns when the client has ended:
//
//   - nil: the command ended with the exit code 0
//   - *stream.ExitError: the command ended with another exit code, or with a
//     signal n (128+n)
//   - *LimitError: the agent ended the command at a time limit
//   - *stream.RemoteError: the command could not be started
//   - *DirectoryError: the command could not be started, because of its working
//     directory
//   - *UnableError: the container cannot run the agent; nothing has run
//   - *GoneError: the session does not exist any more
//   - *agent.RefusedError: the agent does not accept the client
//   - ErrDetached: Detach was called
//   - *stream.LostError: the relay ended, and the policy does not allow a new
//     one
//   - *stream.OutputError: Stdout or Stderr failed
//   - *stream.InputError: Stdin failed
//   - the errors of a Driver and of stream.Dialer, if no relay could be opened
//   - *stream.StartError: the container did not answer within StartTimeout
//   - the context's cause, if the context ended first
//
// If one of the session's goroutines panics, Run panics, too.
//
// A write to Stdout or Stderr may block when the context ends. Run then returns two
// seconds later, and the write, after which no other one follows, may still be in
// progress.
func (s *Session) Run(ctx context.Context) error {
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	onPanic := func() { cancel(errPanicked) }
	s.begin = time.Now()
	s.mu.Lock()
	s.end = cancel
	detached := s.detach
	s.mu.Unlock()
	if detached {
		return ErrDetached
	}
	s.reading = group.New(onPanic)
	defer func() { // deferred, so that stdin is not read after Run even if Run panics
		cancel(nil)
		if s.stopReading() {
			s.reading.Wait()
		}
	}()
	err := s.run(outer, ctx, cancel, group.New(onPanic))
	s.mu.Lock()
	exit, known := s.client.Exit()
	s.mu.Unlock()
	// The exit may have been received before the relay was lost, and the output
	// written after that.
	if !errors.Is(err, errFinished) && (!known || outer.Err() != nil || !stream.IsFailure(err) && !gone(err)) {
		return err
	}
	err = outcome(exit)
	if outer.Err() == nil {
		err = s.driver.Ended(outer, err)
	}
	return err
}

// run runs the relays, and the goroutines that are not part of a relay. ctx is
// canceled when they must end; outer is the context of Run.
func (s *Session) run(outer, ctx context.Context, cancel context.CancelCauseFunc, others *group.Group) (err error) {
	local := localWriters{Group: group.New(func() { cancel(errPanicked) }), ended: make(chan struct{}, 2)}
	defer func() {
		ended := ctx
		if stream.IsFailure(err) || gone(err) {
			ended = outer // when the last output has been written, the exit may be known
		}
		local.wait(ended, s.limits.write)
	}()
	defer others.Wait()
	defer cancel(nil)
	local.start(func() { s.writeOutput(ctx) })
	local.start(func() { s.followUpload(ctx) })
	others.Go(func() { s.followSize(ctx) })
	others.Go(func() { s.finish(ctx) })
	return s.relays.Run(ctx)
}

// localWriters are the goroutines that write to the local terminal, pipe or file,
// which may block.
type localWriters struct {
	*group.Group
	count int
	ended chan struct{} // has room for count values
}

func (l *localWriters) start(f func()) {
	l.count++
	l.Go(func() {
		defer func() { l.ended <- struct{}{} }()
		f()
	})
}

// wait waits for the goroutines, but after the end of ctx not longer than limit.
func (l *localWriters) wait(ctx context.Context, limit time.Duration) {
	done := ctx.Done()
	var expired <-chan time.Time
	for left := l.count; left > 0; {
		select {
		case <-l.ended:
			left--
		case <-done:
			timer := time.NewTimer(limit)
			defer timer.Stop()
			done, expired = nil, timer.C
		case <-expired:
			return
		}
	}
	l.Wait() // passes on a panic
}

// finish ends the session if the relay does not end soon after the command, whose
// output was written, or soon after the user has detached. The relay gets that time
// because the agent must receive the last message.
func (s *Session) finish(ctx context.Context) {
	cause := errFinished
	select {
	case <-ctx.Done():
		return
	case <-s.exited:
	case <-s.left:
		cause = ErrDetached
	}
	timer := time.NewTimer(s.limits.last)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
		s.end(cause)
	}
}

// now returns the time since begin. agent.Client and Setup use this time.
func (s *Session) now() time.Duration { return time.Since(s.begin) }

// wake makes the goroutine that waits for the channel continue.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Argv returns the command of the next relay: the script that starts the agent,
// or, as soon as the session may exist, the command that attaches to it.
func (s *Session) Argv() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attach {
		return AttachArgv(s.dir, s.id)
	}
	start := *s.cfg.Start
	start.ID = s.id
	return start.Argv()
}

// ID returns the ID of the session. Before the session has begun, it may change:
// each attempt to start it has another ID, because an earlier attempt that was
// lost may have started an agent that still waits for its first client.
func (s *Session) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// Dir returns the directory of the agent, or "" if it is not known yet.
func (s *Session) Dir() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dir
}

// Begun reports whether the agent has accepted the client, so that the command
// runs or has run.
func (s *Session) Begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// MayHaveRun reports whether the command runs or may have run: an agent has accepted
// the client, or may have received its Hello. It must be called after Run.
func (s *Session) MayHaveRun() bool { return s.sawHello || s.Begun() }

// attached reports whether the agent has accepted the client on the relay that is
// open. s.mu is locked.
func (s *Session) attached() bool { return s.open && s.client.Attached() }

// isFinished reports whether the exit is known and all output was written.
func (s *Session) isFinished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finished
}

// Detach detaches the client. Run then returns ErrDetached, and the session
// continues. If no relay is open, the agent is not notified.
func (s *Session) Detach() {
	s.mu.Lock()
	attached := s.attached()
	if attached && !s.detach {
		s.client.Leave()
	}
	s.detach = true
	end := s.end
	s.mu.Unlock()
	if !attached {
		end(ErrDetached)
		return
	}
	wake(s.toSend)
	s.leaving.Do(func() { close(s.left) })
}

// Signal sends a signal to the command; number is that of Linux. It returns
// false if too many earlier signals are not acknowledged yet.
func (s *Session) Signal(number uint8) bool {
	s.mu.Lock()
	accepted := s.client.Signal(number)
	s.mu.Unlock()
	wake(s.toSend)
	return accepted
}

// Redraw makes a full-screen program redraw the screen: it sends a size that is
// one column wider, and then the real size. Redraw does not wait.
func (s *Session) Redraw() {
	s.mu.Lock()
	s.redraw = true
	s.mu.Unlock()
	wake(s.toSend)
}

// Again replaces the relay by a new one, without delay. If the session waits
// before the next attempt, Again ends the wait.
func (s *Session) Again() { s.relays.Again() }

// Drop closes the relay, if there is one.
func (s *Session) Drop(reason error) { s.relays.Drop(reason) }

// Conn returns the connection of the relay, or nil if there is none.
func (s *Session) Conn() *stream.Conn { return s.relays.Conn() }

// RoundTrip measures how long the agent takes to answer. ok is false if no relay
// is open, or if the agent does not answer before ctx ends.
func (s *Session) RoundTrip(ctx context.Context) (took time.Duration, ok bool) {
	s.mu.Lock()
	attached, answered := s.attached(), s.answers
	s.client.Ping()
	s.mu.Unlock()
	if !attached {
		return 0, false
	}
	wake(s.toSend)
	select {
	case <-answered:
	case <-ctx.Done():
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client.RoundTrip(), true
}

// notify passes a notice to Config.Notify.
func (s *Session) notify(n Notice) {
	if s.cfg.Notify == nil {
		return
	}
	s.notifying.Lock()
	defer s.notifying.Unlock()
	s.cfg.Notify(n)
}
