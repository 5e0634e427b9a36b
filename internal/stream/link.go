package stream

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"kshell/internal/group"
)

// Reconnect is the policy of a link after a connection is lost.
type Reconnect int

const (
	// ReconnectDefault means ReconnectAlways if NewSession or NewEvents was
	// called without an observer, and ReconnectNever if it was called with one.
	ReconnectDefault Reconnect = iota
	// ReconnectNever does not try again.
	ReconnectNever
	// ReconnectAlways tries again until a failure is permanent or the context
	// ends.
	ReconnectAlways
)

// RetryDelay is the delay between two attempts if LinkSettings has no Backoff.
const RetryDelay = 3 * time.Second

// LinkSettings configure when a new connection is opened. The zero value is
// usable.
type LinkSettings struct {
	// Reconnect is the policy; see its values.
	Reconnect Reconnect
	// ConnectTimeout is how long failed attempts to open the first connection
	// are repeated, counted from the start of Run; 0 means a single attempt. It
	// applies with every value of Reconnect, because no command has run before
	// the first connection. An attempt is repeated if the server could not be
	// reached or its refusal is temporary.
	ConnectTimeout time.Duration
	// Backoff contains the delays between attempts; the zero value means
	// RetryDelay each time. After a connection that has delivered output or was
	// open for 5 s, the delays start again with the first delay. It is not
	// enough that a connection was opened: proxies accept connections for
	// servers that are down, and API servers for nodes that are dead.
	Backoff wait.Backoff
	// Eager omits the delay after a connection that was open for at least 5 s.
	Eager bool
	// GiveUpAfter is the time limit of the attempts to reconnect; 0 means no
	// limit. It is counted from the loss of the last connection that has
	// delivered output or was open for 5 s. If there was no such connection, it
	// is counted from the loss of the first connection.
	GiveUpAfter time.Duration
}

// link opens one connection after another. It contains the only retry loop. The
// methods Again, Drop, RoundTrip and Conn may be called from any goroutine.
type link struct {
	driver   Driver
	settings LinkSettings
	observe  func(Event) // may be nil

	observing sync.Mutex // held during a call of observe

	// Set before run.
	temporary  func(error) bool          // reports whether to try again after a failure before the first connection
	retryAfter func(error) time.Duration // returns the minimum delay that the server has requested; may be nil
	relays     bool                      // a connection counts as one that worked only after Relay.Accept

	// Used by the goroutine of run.
	worked     bool      // works was called
	until      time.Time // the end of GiveUpAfter, or zero
	endAttempt func()    // stops the Unanswered events of the current attempt

	again chan struct{} // ends the wait before the next attempt; 1 slot

	mu       sync.Mutex // protects the following
	live     *Conn
	replaces bool // Again was called while live was the live connection
}

func newLink(d Driver, observe func(Event), s LinkSettings) *link {
	return &link{driver: d, settings: s, observe: observe, temporary: temporary, again: make(chan struct{}, 1)}
}

// notify calls the observer.
func (l *link) notify(e Event) {
	if l.observe == nil {
		return
	}
	l.observing.Lock()
	defer l.observing.Unlock()
	l.observe(e)
}

// livedAfter is how long a connection that has delivered nothing must have been
// open to count as one that worked.
const livedAfter = 5 * time.Second

// errAgain is the reason for the loss of a connection that Again has closed.
var errAgain = errors.New("closed to open a new connection")

// Again closes the live connection, and the link opens a new one without a
// wait. If the link waits before the next attempt, Again ends the wait. During
// an attempt, Again does nothing.
func (l *link) Again() {
	l.mu.Lock()
	conn := l.live
	l.replaces = conn != nil
	l.mu.Unlock()
	if conn != nil {
		conn.Drop(errAgain)
		return
	}
	l.tryNow()
}

// tryNow ends the wait before the next attempt. If the link is not waiting,
// tryNow does nothing.
func (l *link) tryNow() {
	select {
	case l.again <- struct{}{}:
	default:
	}
}

// Drop closes the live connection, if there is one; see Conn.Drop.
func (l *link) Drop(reason error) {
	if conn := l.Conn(); conn != nil {
		conn.Drop(reason)
	}
}

// RoundTrip measures how long the server takes to answer a ping on the live
// connection. ok is false if there is no live connection, if the live
// connection cannot send pings (SPDY), or if the server does not answer before
// ctx ends, for example because the server is blocked by stdin that the command
// does not read.
func (l *link) RoundTrip(ctx context.Context) (took time.Duration, ok bool) {
	conn := l.Conn()
	if conn == nil {
		return 0, false
	}
	start := time.Now()
	ok = conn.ping(ctx)
	return time.Since(start), ok
}

// Conn returns the live connection, or nil if there is none.
func (l *link) Conn() *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.live
}

// setConn sets the live connection. replaced reports whether Again was called
// while the previous connection was live.
func (l *link) setConn(c *Conn) (replaced bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	replaced = l.replaces
	l.live, l.replaces = c, false
	return replaced
}

// run opens one connection after another by calling dial, and passes each
// connection to use, until use returns the outcome of the session or no further
// attempt is allowed.
func (l *link) run(
	ctx context.Context, dial func(context.Context) (*Conn, error), use func(context.Context, *Conn) error,
) error {
	start, backoff := time.Now(), l.backoff()
	l.worked, l.until = false, time.Time{}
	var last error // the last failure that was passed to the observer
	for attempt := 1; ; attempt++ {
		replaced := false
		l.endAttempt = func() {}
		l.beginAttempt()
		conn, err := l.open(ctx, attempt, dial)
		if err == nil {
			replaced, err = l.hold(ctx, conn, use)
			if l.counts(conn) {
				backoff = l.backoff()
				l.works()
			}
		}
		l.endAttempt()
		switch {
		case errors.Is(err, errQuit):
			return last
		case errors.Is(err, errResume):
			l.works() // there was no failure, so GiveUpAfter begins again
			continue
		case errors.Is(err, errExpired), ctx.Err() == nil && l.expired(0) && errors.Is(err, context.DeadlineExceeded):
			return last // GiveUpAfter ended this attempt, so err does not say why connecting failed
		case !IsFailure(err):
			return err
		case ctx.Err() != nil:
			return quit(ctx, err)
		}
		last = err
		l.notify(Failed{err})
		var delay time.Duration
		if !replaced && !l.eager(conn) {
			delay = backoff.Step()
		}
		if l.retryAfter != nil {
			delay = max(delay, l.retryAfter(err))
		}
		switch {
		case permanent(err):
			return err
		case !l.worked && (!l.temporary(err) || time.Since(start)+delay > l.settings.ConnectTimeout):
			return err
		case l.worked && (!l.reconnects() || l.expired(delay)):
			return err
		}
		if delay > 0 && !l.pause(ctx, delay) {
			return quit(ctx, err)
		}
	}
}

// counts reports whether a connection that has ended counts as one that worked.
// The first connection always does, unless the link has relays.
func (l *link) counts(conn *Conn) bool {
	if l.relays {
		return conn.accepted
	}
	return !l.worked || conn.worked()
}

// eager reports whether the next attempt begins without a delay. conn is the
// connection that has ended, or nil if no connection could be opened.
func (l *link) eager(conn *Conn) bool {
	switch {
	case conn == nil:
		return false
	case l.relays:
		return conn.accepted && conn.lived() >= relayLived
	}
	return l.settings.Eager && conn.lived() >= livedAfter
}

// errExpired is the cause with which GiveUpAfter cancels an attempt.
var errExpired = errors.New("no more time to connect again")

// errResume means that a connection has ended without a failure, and that the
// next connection must be opened at once.
var errResume = errors.New("open the next connection at once")

// works records that a connection has worked, or that the server has answered
// another request. After the first call, Reconnect and GiveUpAfter apply
// instead of ConnectTimeout. Each call starts the time limit of GiveUpAfter.
func (l *link) works() {
	l.worked = true
	if l.settings.GiveUpAfter > 0 {
		l.until = time.Now().Add(l.settings.GiveUpAfter)
	}
}

// expired reports whether the time limit of GiveUpAfter ends within delay.
func (l *link) expired(delay time.Duration) bool {
	return !l.until.IsZero() && !time.Now().Add(delay).Before(l.until)
}

// open makes one attempt, at most until GiveUpAfter ends.
func (l *link) open(ctx context.Context, attempt int, dial func(context.Context) (*Conn, error)) (*Conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	l.notify(Connecting{attempt})
	if !l.until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, l.until, errExpired)
		defer cancel()
	}
	return dial(ctx)
}

// hold makes conn the live connection, calls the function use, and closes conn.
// replaced reports whether Again was called while conn was the live connection.
func (l *link) hold(
	ctx context.Context, conn *Conn, use func(context.Context, *Conn) error,
) (replaced bool, err error) {
	defer conn.end()
	if ctx.Err() != nil { // canceled while the connection was being opened
		return false, context.Cause(ctx)
	}
	l.setConn(conn)
	defer func() { replaced = l.setConn(nil) }()
	return false, use(ctx, conn)
}

// opened calls Driver.Opened. It must be called before anything is delivered.
func (l *link) opened(ctx context.Context, conn *Conn) error {
	l.endAttempt()
	conn.openedAt = time.Now()
	return l.driver.Opened(ctx, conn)
}

// beginAttempt starts the Unanswered events of an attempt or of a request. It
// stops those of the previous one.
func (l *link) beginAttempt() {
	l.endAttempt()
	l.endAttempt = l.reportUnanswered()
}

// unansweredAfter is the time from the begin of an attempt to its first
// Unanswered event. unansweredEvery is the interval between these events.
const (
	unansweredAfter = 5 * time.Second
	unansweredEvery = time.Second
)

// reportUnanswered sends the Unanswered events of an attempt that begins now,
// until the function end is called. end waits for a call of observe that is in
// progress.
func (l *link) reportUnanswered() (end func()) {
	if l.observe == nil {
		return func() {}
	}
	begin, ended := time.Now(), make(chan struct{})
	var reporter group.Group
	reporter.Go(func() {
		timer := time.NewTimer(unansweredAfter)
		defer timer.Stop()
		for {
			select {
			case <-ended:
				return
			case <-timer.C:
			}
			l.notify(Unanswered{time.Since(begin)})
			timer.Reset(unansweredEvery)
		}
	})
	return sync.OnceFunc(func() {
		close(ended)
		reporter.Wait()
	})
}

func (l *link) backoff() wait.Backoff {
	if l.settings.Backoff.Duration == 0 {
		return wait.Backoff{Duration: RetryDelay}
	}
	return l.settings.Backoff
}

// reconnects reports whether the policy allows another connection.
func (l *link) reconnects() bool {
	policy := l.settings.Reconnect
	return policy == ReconnectAlways || policy == ReconnectDefault && l.observe == nil
}

// permanent reports whether another attempt would fail in the same way.
func permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

// pause waits until delay has passed, tryNow is called or ctx ends. It returns
// false if ctx has ended.
func (l *link) pause(ctx context.Context, delay time.Duration) bool {
	select {
	case <-l.again: // discard a call of tryNow that was made before this wait
	default:
	}
	l.notify(Waiting{delay})
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.again:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// errQuit is the cause with which the session is canceled when the user gives
// up while disconnected. Run then returns the last failure.
var errQuit = errors.New("given up while disconnected")

// quit returns the cause of ctx. If the cause is errQuit, quit returns last,
// the last failure.
func quit(ctx context.Context, last error) error {
	if cause := context.Cause(ctx); !errors.Is(cause, errQuit) {
		return cause
	}
	return last
}

// IsFailure reports whether err is a failure of a connection or of an attempt to
// open one, as opposed to an outcome of the command.
func IsFailure(err error) bool {
	var lost *LostError
	var refused *HandshakeError
	var unreachable *DialError
	var protocol *ProtocolError
	var notReady *NotReadyError
	var notStarted *StartError
	var event *EventError
	return errors.As(err, &event) || errors.As(err, &notStarted) || errors.As(err, &lost) || errors.As(err, &refused) ||
		errors.As(err, &unreachable) || errors.As(err, &protocol) || errors.As(err, &notReady)
}

// temporary reports whether the first attempt to connect is worth repeating:
// the server could not be reached, or it refused because it is overloaded, is
// restarting, or cannot reach the node.
func temporary(err error) bool {
	var refused *HandshakeError
	if !errors.As(err, &refused) {
		return true
	}
	switch refused.Refusal() {
	case RefusalInFront:
		return !refused.Permanent()
	case RefusalBusy, RefusalUnavailable, RefusalUnreachable:
		return !refused.Page
	}
	return false
}

// NotReadyError means that the target of the connection, such as a container,
// is not running.
type NotReadyError struct {
	Err   error
	Final bool // the target will never run
}

func (e *NotReadyError) Error() string { return e.Err.Error() }
func (e *NotReadyError) Unwrap() error { return e.Err }

// Permanent reports whether the target will never run.
func (e *NotReadyError) Permanent() bool { return e.Final }
