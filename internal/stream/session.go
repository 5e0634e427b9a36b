package stream

import (
	"context"
	"errors"
	"io"
	"time"

	"kshell/internal/group"
)

// Settings configure a Session. The zero value is a session without streams and
// without pings.
type Settings struct {
	LinkSettings

	// Stdin is copied to the remote process as soon as the first connection is
	// open; nil means no stdin. If the subprotocol supports it, the remote's
	// stdin is closed at the end of Stdin. At the end of the session, Run waits
	// until the Read in progress returns. If Stdin is a Canceler, Run calls
	// Cancel first, and does not wait if Cancel returns false.
	Stdin io.Reader
	// StdinFilter changes stdin before it is sent; nil sends it as it is.
	StdinFilter Filter
	// Stdout and Stderr receive the remote's output from Run's goroutine; nil
	// discards it.
	Stdout, Stderr io.Writer
	// Window is the size of the local terminal; nil means no terminal.
	Window Window

	// Interactive means that a user types at Stdin. While no connection is
	// open, Ctrl-D and Ctrl-C end the session, Enter tries again at once, and
	// other keys are dropped. If Ctrl-D was the last key before a connection is
	// lost, the session ends.
	Interactive bool

	// Keepalive is the maximum time without traffic on a connection: shortly
	// before that time has passed, the server is pinged. 0 disables pings and the
	// detection of dead connections.
	//
	// The connection counts as lost if nothing has arrived for 20 s, a ping has
	// been unanswered for 10 s, and the server answers on a new connection. If
	// the server may be blocked by stdin, the first two conditions are replaced:
	// TCP must have received no acknowledgement for 30 s, which is known only on
	// Linux.
	//
	// If the server does not answer on a new connection either, the network is
	// out, and the connection is kept for up to 120 s of silence. After an
	// outage, it is kept for as long as the outage lasted, but for 10 s to 30 s,
	// and on Linux for up to 60 s more until TCP has retransmitted its packets.
	Keepalive time.Duration
	// IdleKeepalive prevents the servers' idle timer (4 hours) from ending the
	// session, independent of Keepalive.
	IdleKeepalive bool

	// CheckStuck means that the session calls the method CheckStuck of the
	// driver while the server seems to be blocked by input that the command
	// does not read. The driver must be a StuckChecker. While nothing arrives
	// and pings are not answered, there is a call every 10 s. If pings are
	// answered, the first call is after 30 s of silence, and the intervals
	// grow. The check is needed because a server never reports the end of a
	// command that has ended with more than 160 KiB of input unread: such a
	// server looks blocked, too.
	CheckStuck bool

	// StartTimeout limits the time from the beginning of Run to the first
	// message on a connection; 0 means no limit. If no message arrives in time,
	// the session ends with a *StartError. Unless UnlimitedDial is set, the
	// context of Driver.Dial ends at this limit, too.
	//
	// An interactive session calls Driver.Opened and sends keys only after that
	// message. So if Driver.Opened makes the terminal raw, Ctrl-C is still a
	// signal before that message.
	StartTimeout time.Duration
	// WithOutput means that the command writes something when it starts, so
	// that only output or the end of the command counts as its start. API
	// servers that translate WebSocket to SPDY themselves (Kubernetes 1.30 to
	// 1.35) open connections, and send the first, empty message, even if the
	// node is dead. SPDY has no such first message; without WithOutput, an open
	// SPDY connection counts as the start.
	WithOutput bool
	// UnlimitedDial means that opening a connection may take longer than
	// StartTimeout, for example because the user is asked for a password.
	UnlimitedDial bool

	// Proof is how long each connection after the first one may take to deliver
	// output; 0 means that an open connection is sufficient. Before the output,
	// Driver.Opened is not called and keys are not sent, and a success counts
	// as a loss, because the API servers described at WithOutput report success
	// for a dead node. Proof must be 0 for a command that writes nothing when
	// it starts.
	Proof time.Duration
}

// Canceler is a reader whose Read can be canceled.
type Canceler interface {
	// Cancel makes the Read in progress and all later ones return, and reports
	// whether that is possible.
	Cancel() bool
}

// Filter changes stdin before it is sent.
type Filter interface {
	// Filter is called with each piece of stdin by the goroutine that reads it,
	// and returns what is sent instead, which may be longer. Connections are
	// numbered from 1 in the order of opening. If none is open, connection is
	// 0, and the result is dropped.
	Filter(p []byte, connection int) []byte
}

// Window is the size of the local terminal.
type Window interface {
	// Size returns columns and rows. It is called when a connection opens
	// (before any stdin is sent) and after each receive from Resized. If ok is
	// false, nothing is sent.
	Size() (width, height uint16, ok bool)
	// Resized returns a channel that reports changes of the size; it may be
	// nil.
	Resized() <-chan struct{}
}

// Session runs one remote command, over one or more connections. Use
// NewSession. The methods other than Run may be called from any goroutine.
type Session struct {
	*link
	set Settings

	redraws    chan struct{} // requests to redraw; 1 slot
	hasStarted bool          // the command has started; used by Run's goroutine
	begin      time.Time     // the beginning of Run; used by Run's goroutine
}

// NewSession returns a session that is ready to run. observe, if not nil, is
// called with each event: from any goroutine, but not from two at the same
// time.
func NewSession(d Driver, observe func(Event), s Settings) *Session {
	if s.StartTimeout > 0 {
		s.ConnectTimeout = min(s.ConnectTimeout, s.StartTimeout)
	}
	return &Session{link: newLink(d, observe, s.LinkSettings), set: s, redraws: make(chan struct{}, 1)}
}

// Redraw makes a full-screen program redraw the screen: it sends a size that is
// one column wider, and then the real size. (The remote ignores an unchanged
// size: measured on Kubernetes 1.37.) Redraw does not wait.
func (s *Session) Redraw() {
	select {
	case s.redraws <- struct{}{}:
	default:
	}
}

// Run opens the first connection, and returns when the session and all its
// goroutines have ended:
//
//   - nil: the command succeeded
//   - *ExitError: the command ended with an exit code
//   - *RemoteError: the command could not be run; the error has the server's
//     reason
//   - *LostError: the connection ended without an outcome, and the policy does
//     not allow a new one
//   - *HandshakeError, *DialError, *ProtocolError, *NotReadyError: no
//     connection could be opened
//   - *StartError: the command did not start within StartTimeout
//   - *OutputError: Stdout or Stderr failed
//   - *InputError: Stdin failed
//   - ErrInterrupted: the user typed Ctrl-C while no connection was open; only
//     if Settings.Interactive is set
//   - an error that Driver.Opened, Driver.Ended or CheckStuck returned
//   - the context's cause, if the context ended first
//
// If one of the session's goroutines panics, Run panics, too.
func (s *Session) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stdin := newStdinSender(s, cancel)
	onPanic := func() { cancel(errPanicked) }
	reading := group.New(onPanic)
	defer func() { // deferred, so that stdin is not read after Run even if Run panics
		if stdin.stop() {
			reading.Wait()
		}
	}()
	s.begin = time.Now()
	return s.run(ctx, s.dial, func(ctx context.Context, conn *Conn) error {
		limit := s.limitAfterStart()
		if !s.hasStarted {
			limit = s.limitBeforeStart(conn, time.Since(s.begin))
		}
		return s.use(ctx, conn, stdin, reading, group.New(onPanic), limit)
	})
}

// dial opens a connection, within StartTimeout if the command has not started.
func (s *Session) dial(ctx context.Context) (*Conn, error) {
	if !s.hasStarted && s.set.StartTimeout > 0 && !s.set.UnlimitedDial {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, s.begin.Add(s.set.StartTimeout), &StartError{s.set.StartTimeout})
		defer cancel()
	}
	return s.driver.Dial(ctx)
}

// errPanicked is the cause with which the session is canceled after a panic in
// one of its goroutines. Run panics instead of returning it.
var errPanicked = errors.New("a goroutine of the session panicked")

// use runs the session on one connection. The caller's goroutine reads from the
// connection. The other goroutines of the connection run in the group writers,
// and have ended when use returns. One of them sends the size of the window
// before any stdin is sent, and then each new size. reading is the group of the
// goroutine that reads stdin until the session ends.
func (s *Session) use(
	ctx context.Context, conn *Conn, stdin *stdinSender, reading, writers *group.Group, limit startLimit,
) error {
	session := ctx
	ctx, cancel := context.WithCancel(ctx)
	proven := make(chan bool, 1)
	defer stdin.connClosed(conn)
	defer writers.Wait()
	defer close(proven)
	defer conn.close()
	defer cancel()
	writers.Go(func() {
		s.sendSize(conn)
		if <-proven {
			stdin.connOpened(conn, reading)
			s.followSize(ctx, conn)
		}
	})
	if s.set.Keepalive > 0 {
		writers.Go(func() {
			newLiveness(s.set.Keepalive, time.Now()).run(ctx, conn, writers, func(e Overdue) { s.notify(e) })
		})
	}
	if s.set.IdleKeepalive {
		writers.Go(func() { keepFromIdling(ctx, conn) })
	}
	begun, err := true, error(nil)
	if limit.within > 0 {
		timer := time.AfterFunc(limit.within, func() { conn.Drop(limit.reason) })
		defer timer.Stop()
		conn.onStart(limit.awaited, func() { timer.Stop(); s.started() })
	}
	if limit.wait {
		begun, err = conn.waitForStart(ctx)
	}
	if begun {
		stdin.connOpening()
		if err := s.opened(session, conn); err != nil {
			return err
		}
		proven <- true
		if checker, ok := s.driver.(StuckChecker); ok && s.set.CheckStuck {
			writers.Go(func() { s.watchStuck(ctx, conn, checker, stdin.end) })
		}
		err = conn.run(ctx, discardNil(s.set.Stdout), discardNil(s.set.Stderr))
	} else if err == nil && limit.required {
		err = &LostError{errNoOutput}
	}
	var notStarted *StartError
	if errors.As(err, &notStarted) {
		return notStarted
	}
	afterCtrlD := stdin.connClosed(conn)
	if ctx.Err() == nil {
		err = s.driver.Ended(ctx, err)
	}
	var lost *LostError
	if errors.As(err, &lost) && s.set.Interactive && afterCtrlD {
		stdin.end(errQuit) // the user has ended the shell
	}
	return err
}

func discardNil(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

func (s *Session) followSize(ctx context.Context, conn *Conn) {
	var resized <-chan struct{}
	if s.set.Window != nil {
		resized = s.set.Window.Resized()
	}
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
		case <-s.redraws:
			s.sendWiderBy(conn, 1)
			s.sendSize(conn)
		}
	}
}

func (s *Session) sendSize(conn *Conn) { s.sendWiderBy(conn, 0) }

// sendWiderBy adds the value of more to the width of the window, and sends the
// size.
func (s *Session) sendWiderBy(conn *Conn, more uint16) {
	if s.set.Window == nil {
		return
	}
	if width, height, ok := s.set.Window.Size(); ok {
		_ = conn.send(chResize, resizeMessage(width+more, height)) // ignores an error: the reader detects a lost connection
	}
}
