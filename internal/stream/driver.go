package stream

import (
	"context"
	"time"
)

// Driver opens the connections of a Session or of Events, and decides what the
// end of each connection means. The goroutine of Run calls its methods, one at
// a time. The context of each call ends with the session, if not earlier.
type Driver interface {
	// Dial opens a new connection. Its error should be one of those that
	// Dialer.Dial returns, or a *NotReadyError if the target is not running.
	Dial(ctx context.Context) (*Conn, error)
	// Opened is called when a connection is open, before anything is delivered
	// from it. An error ends the session.
	Opened(ctx context.Context, conn *Conn) error
	// Ended is called with the outcome of a connection, which is a result of
	// the command or a *LostError. It returns the same or another outcome.
	// After a *LostError the session continues according to Settings.Reconnect.
	// If ctx ends during the call, Ended must return soon, with a *LostError if
	// it does not know the outcome. Only a Session calls Ended, not Events.
	Ended(ctx context.Context, err error) error
}

// StuckChecker is a Driver that can check whether the command is still running;
// see Settings.CheckStuck.
type StuckChecker interface {
	// CheckStuck returns an error if the command is no longer running. The
	// session ends with that error. CheckStuck returns ErrUnanswered if the
	// server did not answer; the session then continues. CheckStuck is called
	// in a separate goroutine.
	CheckStuck(ctx context.Context) error
}

// Event is one of Connecting, Unanswered, Failed, Waiting, Started and Overdue.
type Event interface{ event() }

type (
	// Connecting is sent before each attempt to open a connection.
	Connecting struct{ Attempt int } // from 1
	// Unanswered is sent every second during an attempt to open a connection,
	// for the first time after 5 s. For is the time since the attempt began. The
	// attempt ends when it fails or when Driver.Opened is called.
	Unanswered struct{ For time.Duration }
	// Failed is sent after a failed attempt, and when an open connection is
	// lost (*LostError).
	Failed struct{ Err error }
	// Waiting is sent before each wait for the next attempt.
	Waiting struct{ Delay time.Duration }
	// Started is sent when the command has started; see Settings.StartTimeout.
	// It is sent only if there is a StartTimeout.
	Started struct{}
	// Overdue is sent every second while the server does not answer, and once with
	// 0 when it answers again. For is how long the answer to a ping has been
	// overdue, at least 5 s. If the server may be blocked by stdin, For is the
	// time without an acknowledgement of TCP, at least 10 s. If that time is not
	// known, Overdue is sent only while the network is out, and For is the length
	// of the silence, at least 30 s. NetworkOut means that the server does not
	// answer on a new connection either.
	Overdue struct {
		For        time.Duration
		NetworkOut bool
	}
)

func (Connecting) event() {}
func (Unanswered) event() {}
func (Failed) event()     {}
func (Waiting) event()    {}
func (Started) event()    {}
func (Overdue) event()    {}
