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

// Reconnect is the policy of a Link after a socket could not be opened or was lost.
type Reconnect int

const (
	// ReconnectDefault is ReconnectAlways without an OnFail, else ReconnectNever.
	ReconnectDefault Reconnect = iota
	// ReconnectNever does not try again.
	ReconnectNever
	// ReconnectAlways tries again until a failure is permanent or the context ends.
	ReconnectAlways
)

// RetryDelay is how long a Link without a Backoff waits before it tries again.
const RetryDelay = 3 * time.Second

// Link configures how sockets are opened, and what happens if one fails. The goroutine
// that runs the link makes all callbacks, one at a time. All except Dial may be nil.
type Link struct {
	// Dial opens a new socket. Required.
	Dial func(ctx context.Context) (*Conn, error)

	// OnConnect is called before each attempt, numbered from 1.
	OnConnect func(attempt int)
	// OnOpen is called when a socket is open, before anything is delivered from it. Its
	// error ends the link.
	OnOpen func(*Conn) error
	// OnFail is called with each failure of an attempt or of an open socket
	// (*LostError).
	OnFail func(err error)
	// OnWait is called with the length of each wait before the next attempt.
	OnWait func(delay time.Duration)

	// Reconnect is the policy; see its values.
	Reconnect Reconnect
	// Persist reports whether to repeat an attempt to open the first socket after err
	// and a delay. Because nothing has run, this does not depend on Reconnect. Persist is
	// not called for a permanent failure. Nil means that no attempt is repeated.
	Persist func(err error, delay time.Duration) bool
	// Backoff gives the delays; the zero value is RetryDelay each time. It starts again
	// after a socket that has delivered output or was open for 5 s. An open socket
	// alone is not enough: proxies accept connections for servers that are down, and
	// API servers for nodes that are dead.
	Backoff wait.Backoff
	// A receive from Now ends a wait.
	Now <-chan struct{}
	// Eager makes the first attempt without a delay after a socket that was open for at
	// least 5 s.
	Eager bool
	// GiveUpAfter is the time limit of the attempts, counted from the loss of the last
	// socket that has delivered output or was open for 5 s (or else of the first
	// socket); 0 means no limit.
	GiveUpAfter time.Duration

	until time.Time // the end of GiveUpAfter, or zero. Used by the goroutine that runs the link.

	mu    sync.Mutex
	live  *Conn
	again chan struct{} // 1 slot: see Again
}

// livedAfter is how long a socket that has delivered nothing must have been open to
// count as one that worked.
const livedAfter = 5 * time.Second

// errAgain is the reason for the loss of a socket that Again has closed.
var errAgain = errors.New("closed to open a new one")

// Again replaces the live socket by a new one, or ends the wait before the next attempt.
// It may be called from any goroutine.
func (l *Link) Again() {
	if conn := l.Conn(); conn != nil {
		conn.die(errAgain)
	}
	select {
	case l.wake() <- struct{}{}:
	default:
	}
}

// Drop closes the live socket, if there is one. It counts as lost, with a *LostError
// that wraps reason. Drop may be called from any goroutine.
func (l *Link) Drop(reason error) {
	if conn := l.Conn(); conn != nil {
		conn.die(reason)
	}
}

// RoundTrip measures how long the server takes to answer a ping on the live socket. ok is
// false if there is no live socket, if the socket cannot send pings (SPDY), or if the
// server does not answer before ctx ends, for example because it is blocked by stdin that
// the command does not read. RoundTrip may be called from any goroutine.
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

// Conn returns the live socket, or nil if there is none. It may be called from any
// goroutine.
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

// run opens sockets and calls use with each, one after the other, until use returns the
// outcome of the session. It is the only loop that retries.
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
			return last // the time limit ended this attempt, so its error has no information
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

// errExpired is the cause for which GiveUpAfter cancels an attempt.
var errExpired = errors.New("no more time to connect again")

// bound starts the time limit of GiveUpAfter.
func (l *Link) bound() {
	if l.GiveUpAfter > 0 {
		l.until = time.Now().Add(l.GiveUpAfter)
	}
}

// expired reports whether the time limit of GiveUpAfter ends within delay.
func (l *Link) expired(delay time.Duration) bool {
	return !l.until.IsZero() && !time.Now().Add(delay).Before(l.until)
}

// open makes one attempt, at most until GiveUpAfter ends.
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

// hold makes conn the live socket, calls use, and closes conn.
func (l *Link) hold(ctx context.Context, conn *Conn, use func(context.Context, *Conn) error) error {
	defer conn.end()
	if ctx.Err() != nil { // canceled while the socket was being opened
		return context.Cause(ctx)
	}
	l.setConn(conn)
	defer l.setConn(nil)
	return use(ctx, conn)
}

// opened calls OnOpen. use calls it before anything is delivered.
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

// worth reports whether the policy allows another attempt after an error.
func (l *Link) worth() bool {
	return l.Reconnect == ReconnectAlways || l.Reconnect == ReconnectDefault && l.OnFail == nil
}

// permanent reports whether another attempt would fail in the same way.
func permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

// pause waits for delay or a signal to try at once. It returns false if ctx has ended.
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

// errQuit is the cause for which the session is canceled when the user gives up while
// disconnected. Run then returns the last failure instead.
var errQuit = errors.New("given up while disconnected")

// quit returns the cause for which ctx was canceled, or last if the cause is errQuit.
func quit(ctx context.Context, last error) error {
	if cause := context.Cause(ctx); !errors.Is(cause, errQuit) {
		return cause
	}
	return last
}

// failed reports whether err is a failure of the link, as opposed to an outcome of the
// command.
func failed(err error) bool {
	var lost *LostError
	var refused *HandshakeError
	var unreachable *DialError
	var unknown *ProtocolError
	var early *NotYetError
	var unstarted *StartError
	return errors.As(err, &unstarted) || errors.As(err, &lost) || errors.As(err, &refused) || errors.As(err, &unreachable) || errors.As(err, &unknown) || errors.As(err, &early)
}

// NotYetError is returned by a Dial if the target is not running. Final means that it
// never will be.
type NotYetError struct {
	Err   error
	Final bool
}

func (e *NotYetError) Error() string { return e.Err.Error() }
func (e *NotYetError) Unwrap() error { return e.Err }

// Permanent reports whether the target will never run.
func (e *NotYetError) Permanent() bool { return e.Final }

func call[T any](f func(T), v T) {
	if f != nil {
		f(v)
	}
}

// Session runs one remote command, over one or more sockets. Set the fields before Run,
// and do not change them afterwards.
type Session struct {
	Link

	// Stdin is copied to the remote process as soon as the first socket is open; nil
	// means no stdin. If the subprotocol supports it, the remote's stdin is closed at
	// the end of Stdin.
	Stdin io.Reader
	// CancelStdin makes a blocked Read of Stdin return, and reports whether it
	// succeeded. Run calls it at the end of the session, and waits for the Read unless
	// CancelStdin returned false. If CancelStdin is nil, Run waits for the next return
	// of Read.
	CancelStdin func() bool
	// FilterStdin, if not nil, is called by the goroutine that reads Stdin with each
	// piece before it is sent. It returns what is sent instead, which may be longer.
	// Sockets are numbered from 1 in the order of opening. If no socket is open, socket
	// is 0, and the result is dropped.
	FilterStdin func(p []byte, socket int) []byte
	// Stdout and Stderr receive the remote's output from Run's goroutine; nil discards
	// it.
	Stdout, Stderr io.Writer

	// Interactive means that a user types at Stdin. While no socket is open, Ctrl-D and
	// Ctrl-C end the session, Enter tries again at once, and other keys are dropped. If
	// the link ends after the user typed Ctrl-D, the session ends.
	Interactive bool

	// Keepalive is the longest silence on the socket: the server is pinged shortly
	// before. After 20 s of silence, at least 10 s of them after a ping, the socket
	// counts as lost. 0 disables pings and the detection of dead sockets.
	Keepalive time.Duration
	// IdleKeepalive prevents the servers' idle timer (4 hours) from ending the session,
	// independent of Keepalive.
	IdleKeepalive bool
	// OnQuiet is called each second with the time for which the answer to a ping has
	// been overdue (at least 5 s), and with 0 when the server answers again. It is
	// called from a separate goroutine.
	OnQuiet func(overdue time.Duration)

	// Stuck is called every 10 s while the server seems to be blocked by input that the
	// command does not read: nothing arrives, and pings are not answered. If pings are
	// answered, it is called after 30 s of silence, and then with growing intervals. A
	// server also looks blocked if the command has ended with more than 160 KiB of input
	// unread, because the server then never reports the end. Stuck finds out whether the
	// command still runs. If it returns an error, the session ends with that error. Stuck
	// is called from a separate goroutine.
	Stuck func(ctx context.Context) error

	// StartTimeout is the time limit from the beginning of Run to the first message on
	// a socket, after which the session ends with a *StartError; 0 means no limit.
	// WithOutput means that the command writes something when it starts, so that only
	// output or the end of the command counts as its start: API servers that translate
	// the protocol themselves (Kubernetes 1.30 to 1.35) open sockets, and send the first,
	// empty message, even if the node is dead. SPDY has no such first message; without
	// WithOutput, the open connection counts.
	//
	// An interactive session calls OnOpen and sends keys only after that message. Until
	// then, the terminal is not raw, and Ctrl-C is a signal.
	StartTimeout time.Duration
	WithOutput   bool
	// OnStart is called from Run's goroutine when that message has arrived. It is not
	// called without a StartTimeout.
	OnStart func()

	// Proof is how long each socket after the first one may take to bring output; 0
	// means that an open socket is sufficient. Before the output, OnOpen is not called
	// and keys are not sent, and a success counts as a loss, because the API servers
	// named above report success for a dead node. Proof must be 0 for a command that
	// writes nothing when it starts.
	Proof time.Duration

	// Judge, if not nil, is called from Run's goroutine with the outcome of a socket,
	// which is a result of the command or a loss. It returns the same or another
	// outcome; after a *LostError the session continues according to Reconnect. The
	// context ends with the session, also if the user gives up (see Interactive); Judge
	// must then return soon, with a *LostError if it does not know the outcome.
	Judge func(ctx context.Context, err error) error

	// Size returns the terminal's columns and rows. It is called when a socket opens
	// (before any stdin is sent) and after each receive from Resized. If ok is false,
	// nothing is sent. Nil means that there is no terminal.
	Size    func() (width, height uint16, ok bool)
	Resized <-chan struct{}

	redraws    redraws
	hasStarted bool // the command has started; used by Run's goroutine
}

// redraws is a channel of requests to redraw, with 1 slot.
type redraws struct {
	once sync.Once
	ch   chan struct{}
}

func (r *redraws) slot() chan struct{} {
	r.once.Do(func() { r.ch = make(chan struct{}, 1) })
	return r.ch
}

// Redraw makes a full-screen program redraw the screen: it sends a size that is one
// column wider, and then the real size. (The remote ignores an unchanged size: measured
// on Kubernetes 1.37.) Redraw may be called from any goroutine, and does not wait.
func (s *Session) Redraw() {
	select {
	case s.redraws.slot() <- struct{}{}:
	default:
	}
}

// Run opens the first socket, and returns when the session and all its goroutines have
// ended:
//
//   - nil: the command succeeded
//   - *ExitError: the command ended with an exit code
//   - *RemoteError: the command could not be run; the error has the server's reason
//   - *LostError: the link ended without an outcome, and the policy allows no more sockets
//   - *HandshakeError, *DialError, *ProtocolError, *NotYetError: no socket could be opened
//   - *StartError: the command did not start within StartTimeout
//   - *OutputError, *InputError: Stdout or Stderr, or Stdin, failed
//   - the context's cause, if the context ended first
//
// If one of the session's goroutines panics, Run panics, too.
func (s *Session) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := newPump(s, cancel)
	c := &group.Group{OnPanic: func() { cancel(errPanicked) }}
	if s.Interactive && s.Now == nil {
		s.Now = p.now
	}
	defer func() { // also during a panic: stdin is not read after Run
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

// startBound is a time limit for the start of the command on a socket.
type startBound struct {
	within   time.Duration // 0: no limit
	awaited  sign
	late     error // the reason for closing the socket at the limit
	gate     bool  // the session waits for the sign
	required bool  // without the sign, even a success counts as a loss
}

// firstStart returns the limit for the sockets before the command has started. took is
// the time since the beginning of Run.
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

// laterStart returns the limit for the sockets after the command has started: see Proof.
func (s *Session) laterStart() startBound {
	if s.Proof == 0 {
		return startBound{}
	}
	within := s.Proof
	if !s.until.IsZero() {
		within = max(min(within, time.Until(s.until)), 1) // 0 means no limit
	}
	return startBound{within: within, awaited: signOutput, late: errNoOutput, gate: true, required: true}
}

func (s *Session) started() {
	s.hasStarted = true
	if s.OnStart != nil {
		s.OnStart()
	}
}

// StartError means that the server has accepted a connection, but the command did not
// start within StartTimeout. It may still start later.
type StartError struct{ Within time.Duration }

func (e *StartError) Error() string {
	return fmt.Sprintf("the command was not started within %v", e.Within)
}

// Permanent returns true: there is no time for another attempt.
func (e *StartError) Permanent() bool { return true }

// errPanicked is the cause for which the session is canceled after a panic in one of its
// goroutines. Run does not return it, but panics.
var errPanicked = errors.New("a goroutine of the session panicked")

// use runs the session on one socket. The caller's goroutine reads; another goroutine
// writes the sizes, the first one before any stdin.
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
		p.end(errQuit) // the link ended after Ctrl-D, as the user wanted
	}
	return err
}

const (
	// stuckAfter is how long the server may send nothing before it is pinged, and
	// pongWithin is how long it may take to answer.
	stuckAfter = 5 * time.Second
	pongWithin = 5 * time.Second
	// answeringAfter is how long a server that answers pings may send nothing else. An
	// API server that translates the protocol reads megabytes more than the command,
	// and always answers pings (measured on Kubernetes 1.37).
	answeringAfter = 30 * time.Second
	// unreadLimit is the smallest amount of stdin that can block a server, in bytes: the
	// capacity of a pipe.
	unreadLimit = 64 << 10
)

// watchStuck calls Stuck as described there.
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
			answering = 2 * silent // the command is probably busy
		case ctx.Err() != nil:
			return // the ping was canceled
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
