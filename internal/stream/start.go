package stream

import (
	"fmt"
	"time"
)

// startLimit limits the time until the sign in the field awaited shows that the
// command has started on a connection.
type startLimit struct {
	within   time.Duration // 0: no limit
	awaited  sign
	reason   error // the error with which the connection is dropped at the limit
	wait     bool  // Driver.Opened is called only after the sign in awaited
	required bool  // if the command ends before the sign, even a success counts as a loss
}

// limitBeforeStart returns the limit for conn if the command has not started on
// an earlier connection; see Settings.StartTimeout. took is the time since the
// beginning of Run.
func (s *Session) limitBeforeStart(conn *Conn, took time.Duration) startLimit {
	if s.set.StartTimeout == 0 {
		s.hasStarted = true
		return startLimit{}
	}
	limit := startLimit{
		within: max(s.set.StartTimeout-took, time.Second), awaited: signMessage,
		reason: &StartError{s.set.StartTimeout}, wait: s.set.Interactive,
	}
	if s.set.WithOutput {
		limit.awaited = signOutput
	} else if _, bySPDY := conn.ws.(*spdySocket); bySPDY {
		s.started()
		return startLimit{}
	}
	return limit
}

// limitAfterStart returns the limit for a connection if the command has started
// on an earlier one; see Settings.Proof.
func (s *Session) limitAfterStart() startLimit {
	if s.set.Proof == 0 {
		return startLimit{}
	}
	within := s.set.Proof
	if !s.until.IsZero() {
		within = max(min(within, time.Until(s.until)), 1) // not 0, which would mean no limit
	}
	return startLimit{within: within, awaited: signOutput, reason: errNoOutput, wait: true, required: true}
}

func (s *Session) started() {
	if !s.hasStarted {
		s.hasStarted = true
		s.notify(Started{})
	}
}

// StartError means that the command did not start within StartTimeout, although
// the server may have accepted a connection. The command may still start later.
type StartError struct{ Within time.Duration }

func (e *StartError) Error() string {
	return fmt.Sprintf("the command was not started within %v", e.Within)
}

// Permanent returns true: there is no time for another attempt.
func (e *StartError) Permanent() bool { return true }
