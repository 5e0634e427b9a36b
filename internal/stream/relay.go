package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptrace"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Relays opens one connection after another. The command of each connection is a
// relay: it passes bytes between the caller and a process that continues when the
// connection ends, such as the session agent. Unlike a Session, Relays does
// not interpret the end of a connection. Use NewRelays. The methods other than Run
// may be called from any goroutine.
type Relays struct {
	*link
	handle func(context.Context, *Relay) error
}

// relayBackoff contains the delays between attempts if LinkSettings has no
// Backoff. They are short, because a new relay costs little: it does not start
// the user's command.
var relayBackoff = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Steps: 7, Cap: 5 * time.Second}

// relayLived is how long an accepted relay must have been open so that the next
// one is opened without a delay.
const relayLived = time.Second

// NewRelays returns Relays that are ready to run. handle is called from Run's
// goroutine with each connection, and closes the connection before it returns.
// If it returns one of the errors of failed attempts to connect or a *LostError,
// the next connection is opened as described at LinkSettings. Any other error,
// and nil, ends Run.
//
// Until a Relay was accepted, ConnectTimeout applies; afterwards, Reconnect and
// GiveUpAfter apply. observe is called as described at NewSession. Of the
// methods of d, Relays calls Dial and, if a Relay is accepted, Opened.
func NewRelays(
	d Driver, observe func(Event), s LinkSettings, handle func(ctx context.Context, r *Relay) error,
) *Relays {
	if s.Backoff.Duration == 0 {
		s.Backoff = relayBackoff
	}
	l := newLink(d, observe, s)
	l.relays = true
	return &Relays{link: l, handle: handle}
}

// Run opens connections until handle ends it, no further attempt is allowed, or
// the context ends. It returns the error of handle, the last failure, or the
// context's cause.
func (r *Relays) Run(ctx context.Context) error {
	return r.run(ctx, r.dial, func(ctx context.Context, conn *Conn) error {
		return r.handle(ctx, &Relay{conn: conn, link: r.link})
	})
}

// connectWithin is the time limit for opening a TCP connection after the first
// relay. During a network outage, TCP repeats the packet that opens a connection
// at growing intervals. So a new attempt can succeed earlier after the outage than
// an old one.
const connectWithin = 4 * time.Second

// errNoConnection is the reason for the end of an attempt after connectWithin.
var errNoConnection = fmt.Errorf("no connection within %.0f s", connectWithin.Seconds())

// dial calls Driver.Dial. After the first relay, it limits the time of each TCP
// connection, such as one to a proxy.
func (r *Relays) dial(ctx context.Context) (*Conn, error) {
	if !r.worked {
		return r.driver.Dial(ctx)
	}
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := connectLimit{expired: func() { cancel(errNoConnection) }}
	defer limit.stop()
	conn, err := r.driver.Dial(httptrace.WithClientTrace(limited, &httptrace.ClientTrace{
		ConnectStart: func(string, string) { limit.start() },
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				limit.stop()
			}
		},
	}))
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(limited), errNoConnection) {
		return nil, &DialError{Server: "the server", Err: errNoConnection}
	}
	return conn, err
}

// connectLimit calls expired if no connection is established within connectWithin.
// Any goroutine may call its methods.
type connectLimit struct {
	expired func()

	mu    sync.Mutex
	timer *time.Timer // nil if no connection is being opened
}

// start begins the time limit, unless another connection is being opened, for
// example to another address of the same server.
func (l *connectLimit) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		l.timer = time.AfterFunc(connectWithin, l.expired)
	}
}

func (l *connectLimit) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// Notify passes an event to the observer.
func (r *Relays) Notify(e Event) { r.notify(e) }

// TryNow ends the wait before the next attempt, if there is one.
func (r *Relays) TryNow() { r.tryNow() }

// Relay is one connection of Relays.
type Relay struct {
	conn *Conn
	link *link
}

// Copy copies the command's output to stdout and stderr, until the command or
// the connection ends, and closes the connection. It returns nil, *ExitError,
// *RemoteError, *LostError, *OutputError, or the context's cause.
func (r *Relay) Copy(ctx context.Context, stdout, stderr io.Writer) error {
	return r.conn.run(ctx, stdout, stderr)
}

// Accept records that the other end of the relay has answered, and calls
// Driver.Opened. It must be called from a Write to the stdout of Copy.
func (r *Relay) Accept(ctx context.Context) error {
	r.conn.accepted = true
	return r.link.opened(ctx, r.conn)
}

// Send sends buf[1:] to the command. It overwrites buf[0]. It may block until
// the connection is closed. An error of Send does not end the relay; the result
// of Copy describes how the relay ended.
func (r *Relay) Send(buf []byte) error { return r.conn.send(chStdin, buf) }

// Replace closes the connection, and makes Relays open the next one without
// delay. Copy then returns a *LostError with the reason.
func (r *Relay) Replace(reason error) {
	r.link.mu.Lock()
	r.link.replaces = r.link.replaces || r.link.live == r.conn
	r.link.mu.Unlock()
	r.conn.Drop(reason)
}

// Drop closes the connection; see Conn.Drop.
func (r *Relay) Drop(reason error) { r.conn.Drop(reason) }
