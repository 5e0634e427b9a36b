package stream

import (
	"fmt"
	"time"
)

// startBound is a time limit for the start of the command on a connection.
type startBound struct {
	within   time.Duration // 0: no limit
	awaited  sign
	late     error // the reason for closing the connection at the limit
	wait     bool  // the session waits for the sign
	required bool  // without the sign, even a success counts as a loss
}

// firstStart returns the limit for the connections before the command has
// started. took is the time since the beginning of Run.
func (s *Session) firstStart(conn *Conn, took time.Duration) startBound {
	if s.set.StartTimeout == 0 {
		s.hasStarted = true
		return startBound{}
	}
	b := startBound{
		within: max(s.set.StartTimeout-took, time.Second), awaited: signMessage,
		late: &StartError{s.set.StartTimeout}, wait: s.set.Interactive,
	}
	if s.set.WithOutput {
		b.awaited = signOutput
	} else if _, bySPDY := conn.ws.(*spdySocket); bySPDY {
		s.started()
		return startBound{}
	}
	return b
}

// laterStart returns the limit for the connections after the command has
// started: see Proof.
func (s *Session) laterStart() startBound {
	if s.set.Proof == 0 {
		return startBound{}
	}
	within := s.set.Proof
	if !s.until.IsZero() {
		within = max(min(within, time.Until(s.until)), 1) // 0 means no limit
	}
	return startBound{within: within, awaited: signOutput, late: errNoOutput, wait: true, required: true}
}

func (s *Session) started() {
	if !s.hasStarted {
		s.hasStarted = true
		s.notify(Started{})
	}
}

// StartError means that the server has accepted a connection, but the command
// did not start within StartTimeout. It may still start later.
type StartError struct{ Within time.Duration }

func (e *StartError) Error() string {
	return fmt.Sprintf("the command was not started within %v", e.Within)
}

// Permanent returns true: there is no time for another attempt.
func (e *StartError) Permanent() bool { return true }
