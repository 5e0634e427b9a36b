package resume

import (
	"kshell/internal/agent"
	"kshell/internal/stream"
)

// UnableError means that the container cannot run the agent. Nothing has run.
type UnableError struct {
	Reason string
	Err    error // the cause, or nil
}

func (e *UnableError) Error() string {
	return "the session agent cannot run in the container: " + e.Reason
}

// Unwrap returns the cause.
func (e *UnableError) Unwrap() error { return e.Err }

// GoneError means that the session does not exist any more.
type GoneError struct {
	ID     string
	Reason string // why, or ""
}

func (e *GoneError) Error() string {
	text := "the session " + e.ID + " does not exist any more"
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// LimitError means that the agent ended the command at one of the time limits
// of the session.
type LimitError struct {
	Exit *stream.ExitError // 128 plus the number of the signal that ended the command
	Text string            // names the limit
}

func (e *LimitError) Error() string { return "the session agent has ended the command: " + e.Text }

// Unwrap returns the exit code.
func (e *LimitError) Unwrap() error { return e.Exit }

// DirectoryError means that the working directory of the command does not exist in
// the container, or cannot be entered.
type DirectoryError struct{ Err *stream.RemoteError }

func (e *DirectoryError) Error() string { return e.Err.Error() }

// Unwrap returns the error that the same command has without the agent.
func (e *DirectoryError) Unwrap() error { return e.Err }

// signaled is added to the number of the signal that ended the command, as in a
// shell.
const signaled = 128

// outcome returns the error for the end of the command.
func outcome(exit *agent.Exit) error {
	code := int(exit.Code)
	switch exit.Kind {
	case agent.Exited:
		if code == 0 {
			return nil
		}
		return &stream.ExitError{Code: code}
	case agent.Signaled:
		return &stream.ExitError{Code: signaled + code}
	case agent.NotStarted:
		err := &stream.RemoteError{Message: exit.Text, Start: stream.StartNotExecutable}
		switch code {
		case exitNotFound:
			err.Start = stream.StartNotFound
		case agent.NoDirectory:
			return &DirectoryError{err}
		}
		return err
	case agent.TimedOut:
		return &LimitError{Exit: &stream.ExitError{Code: signaled + code}, Text: exit.Text}
	}
	return &stream.RemoteError{Message: "the session agent reported an unknown kind of exit"}
}
