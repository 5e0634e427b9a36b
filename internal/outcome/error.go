package outcome

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kshell/internal/cleanup"
)

// UsageError is a mistake in the command line.
type UsageError struct{ message, hint string }

// NewUsageError returns a *UsageError. hint is what to type.
func NewUsageError(message, hint string) error { return &UsageError{message, hint} }

func (e *UsageError) Error() string { return e.message }

// Hint returns what to type.
func (e *UsageError) Hint() string { return e.hint }

// TimeoutError is the cause of a context that --timeout ended.
type TimeoutError struct{ After time.Duration }

func (e TimeoutError) Error() string {
	return fmt.Sprintf("the command did not end within %v (--timeout)", e.After)
}

// IdleError means that no key was typed for the time of --idle-timeout, so that
// kshell has left the session. It is the cause of the session's context.
type IdleError struct{ After time.Duration }

func (e IdleError) Error() string {
	return fmt.Sprintf("no key was typed for %v (--idle-timeout)", e.After)
}

// FanoutError means that a command failed in at least one of several pods. A
// table of all results has been printed.
type FanoutError struct {
	ExitCode     int // the highest of all pods
	Failed, Pods int // numbers of pods
}

func (e *FanoutError) Error() string {
	return fmt.Sprintf("the command failed in %d of %d pods", e.Failed, e.Pods)
}

// ReportedError is an error that was already reported to the user, with the
// exit code of kshell.
type ReportedError struct {
	ExitCode int
	Err      error
}

func (e *ReportedError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *ReportedError) Unwrap() error { return e.Err }

// GaveUpError means that kshell has given up reconnecting, and has printed why.
type GaveUpError struct{ Err error }

func (e *GaveUpError) Error() string { return "session given up" }

// Unwrap returns the last error of the connection.
func (e *GaveUpError) Unwrap() error { return e.Err }

// ErrLeft means that the user left the session with the escape keys ~. before
// the command ended. It is the cause of the session's context.
var ErrLeft = errors.New("session left")

// ErrDetached means that the user has left the command running, in its session of
// the session agent. A message was printed.
var ErrDetached = errors.New("detached")

// ContextCause returns the error to report if a call with the context ctx has
// returned err. If err is not nil and the cause of ctx is a
// cleanup.SignalError, a TimeoutError, an IdleError or ErrLeft, it returns that cause,
// because err is only a consequence of the cause. Otherwise it returns err.
func ContextCause(ctx context.Context, err error) error {
	var signal cleanup.SignalError
	var timeout TimeoutError
	var idle IdleError
	switch cause := context.Cause(ctx); {
	case err == nil:
		return nil
	case errors.Is(cause, ErrLeft):
		return ErrLeft
	case errors.As(cause, &signal):
		return signal
	case errors.As(cause, &timeout):
		return timeout
	case errors.As(cause, &idle):
		return idle
	}
	return err
}
