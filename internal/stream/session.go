package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"kshell/internal/group"
)

// Reconnect is what a Link does when a socket could not be opened or was lost.
type Reconnect int

const (
	// ReconnectDefault goes on without an OnFail, and gives up with one.
	ReconnectDefault Reconnect = iota
	// ReconnectNever gives up.
	ReconnectNever
	// ReconnectAlways goes on until the failure is permanent or the context ends.
	ReconnectAlways
)

// RetryDelay is how long a Link waits before it tries again, unless it has a Backoff of its own.
const RetryDelay = 3 * time.Second

// Link says how sockets are opened, and what happens when one fails. All callbacks are made from the goroutine that runs the
// link, one at a time; all may be nil.
type Link struct {
	// Dial opens a new socket. Required.
	Dial func(ctx context.Context) (*Conn, error)

	// OnConnect is called before each attempt, numbered from 1.
	OnConnect func(attempt int)
	// OnOpen is called when a socket is open, before anything is delivered from it. Its error ends the link.
	OnOpen func(*Conn) error
	// OnFail is called with each failure: of an attempt, or of an open socket (*LostError).
	OnFail func(err error)
	// OnWait is called with the length of each wait before the next attempt.
	OnWait func(delay time.Duration)

	// Reconnect is the policy; see its values.
	Reconnect Reconnect
	// Persist is asked whether an attempt before the first socket, which has failed, is to be repeated after a delay: nothing has run then,
	// so that it may be, whatever the policy. It is not asked of a failure that is permanent. Nil: it is not.
	Persist func(err error, delay time.Duration) bool
	// Backoff gives the delays; the zero value is RetryDelay each time. It starts again after a socket that has delivered output or
	// lived for 5 s. That a socket was opened is not enough: proxies accept connections for servers that are down, and API servers for
	// nodes that are dead.
	Backoff wait.Backoff
	// Now ends a wait at once when it receives.
	Now <-chan struct{}
	// Eager makes the first attempt after a socket that lived for 5 s or more at once.
	Eager bool
	// GiveUpAfter bounds the attempts: none begins or lasts longer than so much time after the loss of the last socket that has delivered
	// output or lived for 5 s (or of the first one); 0: no bound.
	GiveUpAfter time.Duration

	until time.Time // the end of GiveUpAfter; zero: none. Used by the goroutine that runs the link.

	mu    sync.Mutex
	live  *Conn
	again chan struct{} // 1 slot: see Again
}

// livedAfter is how long a socket must have lived to count as one that worked although it has delivered nothing.
const livedAfter = 5 * time.Second

// errAgain is the loss of a socket that the user gave up.
var errAgain = errors.New("left for a new one")

// Again replaces the live socket by a new one at once, or ends the wait for one. It may be called from any goroutine.
func (l *Link) Again() {
	if conn := l.Conn(); conn != nil {
		conn.die(errAgain)
	}
	select {
	case l.wake() <- struct{}{}:
	default:
	}
}

// Drop ends the live socket, if there is one, as lost for a reason that the caller knows: a *LostError with it. It may be called from any
// goroutine.
func (l *Link) Drop(reason error) {
	if conn := l.Conn(); conn != nil {
		conn.die(reason)
	}
}

// RoundTrip measures how long the server takes to answer a ping on the live socket. Not ok: there is none, it does not answer before ctx
// ends (which a server that is blocked by a remote's stdin does not), or it cannot be asked (SPDY). It may be called from any goroutine.
func (l *Link) RoundTrip(ctx context.Context) (took time.Duration, ok bool) {
	conn := l.Conn()
	if conn == nil {
		return 0, false
	}
	start := time.Now()
	ok = conn.ping(ctx)
	return time.Since(start), ok
}

func (l *Link) wake() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.again == nil {
		l.again = make(chan struct{}, 1)
	}
	return l.again
}

// Conn is the live socket, or nil between two. It may be called from any goroutine.
func (l *Link) Conn() *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.live
}

func (l *Link) setConn(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live = c
}

// run opens sockets and gives each to use, one after the other, until use returns how it ended. It is the only loop that retries.
func (l *Link) run(ctx context.Context, use func(context.Context, *Conn) error) error {
	opened := false
	backoff := l.backoff()
	l.until = time.Time{}
	var last error // the last failure that was passed to OnFail
	for attempt := 1; ; attempt++ {
		conn, err := l.open(ctx, attempt)
		if err == nil {
			err = l.hold(ctx, conn, use)
			if !opened || conn.worked() {
				opened, backoff = true, l.backoff()
				l.bound()
			}
		}
		switch {
		case errors.Is(err, errQuit):
			return last
		case errors.Is(err, errExpired), ctx.Err() == nil && l.expired(0) && errors.Is(err, context.DeadlineExceeded):
			return last // this attempt was cut short, and has no reason of its own
		case !failed(err):
			return err
		case ctx.Err() != nil:
			return quit(ctx, err)
		}
		last = err
		call(l.OnFail, err)
		var delay time.Duration
		if !l.Eager || conn == nil || conn.lived() < livedAfter {
			delay = backoff.Step()
		}
		switch {
		case permanent(err):
			return err
		case !opened && (l.Persist == nil || !l.Persist(err, delay)):
			return err
		case opened && (!l.worth() || l.expired(delay)):
			return err
		}
		if delay > 0 && !l.pause(ctx, delay) {
			return quit(ctx, err)
		}
	}
}

// errExpired is the cause of the end of an attempt that GiveUpAfter has cut short.
var errExpired = errors.New("no more time to connect again")

// bound starts GiveUpAfter.
func (l *Link) bound() {
	if l.GiveUpAfter > 0 {
		l.until = time.Now().Add(l.GiveUpAfter)
	}
}

// expired reports whether GiveUpAfter will be over after a delay.
func (l *Link) expired(delay time.Duration) bool {
	return !l.until.IsZero() && !time.Now().Add(delay).Before(l.until)
}

// open makes an attempt, which ends with GiveUpAfter.
func (l *Link) open(ctx context.Context, attempt int) (*Conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	call(l.OnConnect, attempt)
	if !l.until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, l.until, errExpired)
		defer cancel()
	}
	return l.Dial(ctx)
}

// hold makes conn the live one while it is used.
func (l *Link) hold(ctx context.Context, conn *Conn, use func(context.Context, *Conn) error) error {
	defer conn.end()
	if ctx.Err() != nil { // cancelled while it was being opened
		return context.Cause(ctx)
	}
	l.setConn(conn)
	defer l.setConn(nil)
	return use(ctx, conn)
}

// opened is called by use, before anything is delivered.
func (l *Link) opened(conn *Conn) error {
	conn.openedAt = time.Now()
	if l.OnOpen == nil {
		return nil
	}
	return l.OnOpen(conn)
}

func (l *Link) backoff() wait.Backoff {
	if l.Backoff.Duration == 0 {
		return wait.Backoff{Duration: RetryDelay}
	}
	return l.Backoff
}

// worth reports whether the policy allows another attempt after a loss.
func (l *Link) worth() bool {
	return l.Reconnect == ReconnectAlways || l.Reconnect == ReconnectDefault && l.OnFail == nil
}

// permanent reports whether another attempt would fail in the same way.
func permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

// pause waits, and reports whether to go on.
func (l *Link) pause(ctx context.Context, delay time.Duration) bool {
	call(l.OnWait, delay)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.Now:
	case <-l.wake():
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// errQuit is the cause of a link's own end: the user gave up waiting. What was lost is then the answer.
var errQuit = errors.New("given up while disconnected")

func quit(ctx context.Context, last error) error {
	if cause := context.Cause(ctx); !errors.Is(cause, errQuit) {
		return cause
	}
	return last
}

// failed reports whether err is a failure of the link, not a result of the command.
func failed(err error) bool {
	var lost *LostError
	var refused *HandshakeError
	var unreachable *DialError
	var unknown *ProtocolError
	var early *NotYetError
	var unstarted *StartError
	return errors.As(err, &unstarted) || errors.As(err, &lost) || errors.As(err, &refused) || errors.As(err, &unreachable) || errors.As(err, &unknown) || errors.As(err, &early)
}

// NotYetError is returned by a Dial when the target is not running. Final: it never will be.
type NotYetError struct {
	Err   error
	Final bool
}

func (e *NotYetError) Error() string { return e.Err.Error() }
func (e *NotYetError) Unwrap() error { return e.Err }

// Permanent reports whether the target never will run.
func (e *NotYetError) Permanent() bool { return e.Final }

func call[T any](f func(T), v T) {
	if f != nil {
		f(v)
	}
}

// Session is one remote command, over one socket or several. Its fields are set before Run and not changed after.
type Session struct {
	Link

	// Stdin is copied to the remote process from the moment that the first socket is open; nil for none. Its end is told
	// to the remote where the subprotocol can.
	Stdin io.Reader
	// CancelStdin makes a blocked Read of Stdin return, and says whether it does. Run calls it when the session is over and
	// then waits for the Read, unless it was told false. Without a CancelStdin it waits until Stdin gives something.
	CancelStdin func() bool
	// FilterStdin, if set, is called with each piece of Stdin before it is sent, by the goroutine that reads Stdin, and returns what is sent
	// instead, possibly more. Sockets are numbered from 1 in the order of opening; 0 means that none is open, and the piece is dropped.
	FilterStdin func(p []byte, socket int) []byte
	// Stdout and Stderr take the remote's output, from Run's goroutine; nil discards.
	Stdout, Stderr io.Writer

	// Interactive says that a user types at Stdin: while no socket is open, Ctrl-D and Ctrl-C give up, Enter tries again at once
	// and other keys are dropped; and when the link ends after the user typed Ctrl-D, that is the end.
	Interactive bool

	// Keepalive is how long there may be silence on the socket: the server is pinged shortly before. After 20 s of silence, 10 of them after
	// a ping, the socket is dead, and lost. 0 disables pings and the detection of dead sockets.
	Keepalive time.Duration
	// IdleKeepalive keeps the servers' idle timer (4 hours) from ending the session, whatever Keepalive is.
	IdleKeepalive bool
	// OnQuiet is called each second with the time for which the answer to a ping has been overdue (5 s or more), and with 0 when the server
	// answers again. It is called from a goroutine of its own.
	OnQuiet func(overdue time.Duration)

	// Stuck is called, every 10 s, while the server seems to be blocked by input that the command does not read: nothing arrives, and pings are
	// not answered. If they are answered, it is called after 30 s, and then more and more rarely. A server also looks blocked when the command
	// has ended: with more than 160 KiB of input unread it never reports the end. Stuck finds out how the command is: its error ends the
	// session, nil goes on. It runs in a goroutine of its own.
	Stuck func(ctx context.Context) error

	// StartTimeout bounds the time from Run's beginning to the first message on a socket; 0: there is no bound. When it is over the session
	// ends with a *StartError. WithOutput says that the command writes something when it begins, so that only output, or its end, counts: API
	// servers that translate the protocol themselves (Kubernetes 1.30 to 1.35) open sockets, and send the first, empty message, for a node that
	// is dead. Over SPDY no message is sent first; without WithOutput the open connection counts.
	//
	// In an interactive session OnOpen and the keys wait for that message: until then the terminal is not raw, and Ctrl-C is a signal.
	StartTimeout time.Duration
	WithOutput   bool
	// OnStart is called, from Run's goroutine, when that message has come. It is not called without a StartTimeout.
	OnStart func()

	// Proof is how long a socket after the first one has to bring output; 0: it counts when it is open. Until it has, no socket is open for
	// OnOpen and for the keys, and a success is a loss: the servers named above then say that all went well. What begins in silence must do
	// without.
	Proof time.Duration

	// Judge is asked, in Run's goroutine, what the end of a socket means that was a verdict or a loss, and returns that or another error: a
	// *LostError goes by the policy, as any. The context ends with the session, also when the user gives up (see Interactive): Judge then
	// returns soon, with a *LostError if it does not know. Nil: the end means what it says.
	Judge func(ctx context.Context, err error) error

	// Size is asked for the terminal's columns and rows, when a socket opens (before any stdin is sent) and after each receive from
	// Resized. Not ok: unknown, nothing is sent. Nil for no terminal.
	Size    func() (width, height uint16, ok bool)
	Resized <-chan struct{}

	redraws    redraws
	hasStarted bool // the command; of Run's goroutine
}

// redraws are wishes for one; 1 slot.
type redraws struct {
	once sync.Once
	ch   chan struct{}
}

func (r *redraws) slot() chan struct{} {
	r.once.Do(func() { r.ch = make(chan struct{}, 1) })
	return r.ch
}

// Redraw has a program that fills the screen draw it anew: the terminal becomes one column wider, for a moment (the same size again would be no
// news to the remote: measured on Kubernetes 1.37). It may be called from any goroutine, and does not wait.
func (s *Session) Redraw() {
	select {
	case s.redraws.slot() <- struct{}{}:
	default:
	}
}

// Run opens the first socket and returns when the session has ended, with all its goroutines:
//
//   - nil: the command said that it succeeded
//   - *ExitError: it said a code
//   - *RemoteError: it could not be run; the server says why
//   - *LostError: the link ended and nobody said anything, and the policy says no more sockets
//   - *HandshakeError, *DialError, *ProtocolError, *NotYetError: no socket could be opened
//   - *StartError: nothing came from the command within StartTimeout
//   - *OutputError, *InputError: Stdout or Stderr, or Stdin, failed
//   - the context's cause, when it ended first
//
// A panic in one of the session's goroutines comes out of Run.
func (s *Session) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := newPump(s, cancel)
	c := &group.Group{OnPanic: func() { cancel(errPanicked) }}
	if s.Interactive && s.Now == nil {
		s.Now = p.now
	}
	defer func() { // also when a panic is on its way out: nobody reads stdin any more after Run
		if p.stop() {
			c.Wait()
		}
	}()
	start := time.Now()
	return s.run(ctx, func(ctx context.Context, conn *Conn) error {
		b := s.laterStart()
		if !s.hasStarted {
			b = s.firstStart(conn, time.Since(start))
		}
		return s.use(ctx, conn, c, p, b)
	})
}

// startBound is by when a socket has to show that the command has begun.
type startBound struct {
	within   time.Duration // 0: it need not
	awaited  sign
	late     error // why the socket is closed otherwise
	gate     bool  // the session waits for it
	required bool  // the end of the command does not do instead, not even a success
}

// firstStart is for the sockets until the command has begun. took is the time since Run's beginning.
func (s *Session) firstStart(conn *Conn, took time.Duration) startBound {
	if s.StartTimeout == 0 {
		s.hasStarted = true
		return startBound{}
	}
	b := startBound{within: max(s.StartTimeout-took, time.Second), awaited: signMessage, late: &StartError{s.StartTimeout}, gate: s.Interactive}
	if s.WithOutput {
		b.awaited = signOutput
	} else if _, bySPDY := conn.ws.(*spdySocket); bySPDY {
		s.started()
		return startBound{}
	}
	return b
}

func (s *Session) laterStart() startBound {
	if s.Proof == 0 {
		return startBound{}
	}
	within := s.Proof
	if !s.until.IsZero() {
		within = max(min(within, time.Until(s.until)), 1) // 0 is no bound
	}
	return startBound{within: within, awaited: signOutput, late: errNoOutput, gate: true, required: true}
}

func (s *Session) started() {
	s.hasStarted = true
	if s.OnStart != nil {
		s.OnStart()
	}
}

// StartError means that the server has accepted a connection, and nothing came from the command within StartTimeout. It may be started later all
// the same.
type StartError struct{ Within time.Duration }

func (e *StartError) Error() string {
	return fmt.Sprintf("the command was not started within %v", e.Within)
}

// Permanent is true: the time is over.
func (e *StartError) Permanent() bool { return true }

// errPanicked is the cause of a session's end by a panic, which then comes out of Run in place of it.
var errPanicked = errors.New("a goroutine of the session panicked")

// use runs one socket of the session: the caller's goroutine reads, and another writes the sizes, the first one before any stdin.
func (s *Session) use(ctx context.Context, conn *Conn, c *group.Group, p *pump, b startBound) error {
	ctx, cancel := context.WithCancel(ctx)
	writers, proven := &group.Group{OnPanic: c.OnPanic}, make(chan bool, 1)
	defer p.closed(conn)
	defer writers.Wait()
	defer close(proven)
	defer conn.close()
	defer cancel()
	writers.Go(func() {
		s.sendSize(conn)
		if <-proven {
			p.open(conn, c)
			s.followSize(ctx, conn)
		}
	})
	if s.Keepalive > 0 {
		writers.Go(func() { s.keepAlive(ctx, conn, writers) })
	}
	if s.IdleKeepalive {
		writers.Go(func() { s.keepFromIdling(ctx, conn) })
	}
	begun, err := true, error(nil)
	if b.within > 0 {
		late := time.AfterFunc(b.within, func() { conn.die(b.late) })
		defer late.Stop()
		conn.expect(b.awaited, func() { late.Stop(); s.started() })
	}
	if b.gate {
		begun, err = conn.await(ctx)
	}
	if begun {
		p.connected()
		if err := s.opened(conn); err != nil {
			return err
		}
		proven <- true
		if s.Stuck != nil {
			writers.Go(func() { s.watchStuck(ctx, conn, p) })
		}
		err = conn.run(ctx, discardNil(s.Stdout), discardNil(s.Stderr))
	} else if err == nil && b.required {
		err = &LostError{errNoOutput}
	}
	var unstarted *StartError
	if errors.As(err, &unstarted) {
		return unstarted
	}
	leaving := p.closed(conn)
	if s.Judge != nil && ctx.Err() == nil {
		err = s.Judge(ctx, err)
	}
	var lost *LostError
	if errors.As(err, &lost) && s.Interactive && leaving {
		p.end(errQuit) // the link ended after Ctrl-D: what the user wanted
	}
	return err
}

const (
	// stuckAfter is how long the server may say nothing before it is pinged, and pongWithin how long it has to answer.
	stuckAfter = 5 * time.Second
	pongWithin = 5 * time.Second
	// answeringAfter is how long it may say nothing, and answer: an API server that translates takes megabytes more than the command has
	// read, and answers pings for ever (measured on Kubernetes 1.37).
	answeringAfter = 30 * time.Second
	// unreadLimit is the least stdin that can block a server, in bytes: that of a pipe.
	unreadLimit = 64 << 10
)

// watchStuck calls Stuck when there is reason to.
func (s *Session) watchStuck(ctx context.Context, conn *Conn, p *pump) {
	timer := time.NewTimer(stuckAfter)
	defer timer.Stop()
	answering := answeringAfter
	for ; ; timer.Reset(stuckAfter) {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		silent := conn.quiet()
		switch {
		case conn.sent.Load() < unreadLimit || silent < stuckAfter:
			answering = answeringAfter
			continue
		case conn.pong(ctx, pongWithin):
			if silent < answering {
				continue
			}
			answering = 2 * silent // it is most likely at work
		case ctx.Err() != nil:
			return // no answer is awaited any more
		case conn.quiet() < stuckAfter:
			continue
		}
		if err := s.Stuck(ctx); err != nil {
			p.end(err)
			return
		}
	}
}

func discardNil(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

func (s *Session) followSize(ctx context.Context, conn *Conn) {
	resized := s.Resized
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-resized:
			if !ok {
				resized = nil
				continue
			}
			s.sendSize(conn)
		case <-s.redraws.slot():
			s.sendWiderBy(conn, 1)
			s.sendSize(conn)
		}
	}
}

func (s *Session) sendSize(conn *Conn) { s.sendWiderBy(conn, 0) }

// sendWiderBy sends the size, and more columns than there are.
func (s *Session) sendWiderBy(conn *Conn, more uint16) {
	if s.Size == nil {
		return
	}
	if width, height, ok := s.Size(); ok {
		_ = conn.send(chResize, resizeMessage(width+more, height)) // a dead socket is noticed by its reader
	}
}
