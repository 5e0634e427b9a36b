package main

import (
	"testing"

	"kshell/internal/exact"
	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// What may have run is not run again without the script: only what is known not to have.
func TestOnlyWhatHasNotRunIsRunPlainly(t *testing.T) {
	exit := &stream.ExitError{Code: 2}
	for name, c := range map[string]struct {
		state exact.State
		err   error
		again bool
	}{
		"a success without a report":         {exact.Unknown, nil, false},
		"a code without a report":            {exact.Unknown, exit, false},
		"there is no sh":                     {exact.Unknown, &stream.RemoteError{Start: stream.StartNotFound}, true},
		"a link that was lost":               {exact.Unknown, &stream.LostError{Err: errUnreported}, false},
		"it runs":                            {exact.Running, exit, false},
		"it has ended":                       {exact.Ended, exit, false},
		"it was ended with the script":       {exact.Failed, exit, false},
		"there is no such command":           {exact.NoCommand, exit, true},
		"no process for it could be started": {exact.NotStarted, exit, true},
	} {
		if why := obstacle(c.state, c.err); (why != "") != c.again {
			t.Errorf("%s: %q", name, why)
		}
	}
}

// An exit code that only the server reports is not taken for the command's.
func TestExitCode_OnlyFromScript(t *testing.T) {
	exit := &stream.ExitError{Code: 137}
	lost := &stream.LostError{Err: errUnreported}
	for name, c := range map[string]struct {
		err    error
		killed bool
		code   int
	}{
		"a code":                          {exit, false, outcome.ExitFailed},
		"a code, and the container ended": {exit, true, 137},
		"a link that was lost":            {lost, false, outcome.ExitFailed},
		"no such command":                 {errMissing, false, outcome.ExitNotFound},
		"success":                         {nil, false, outcome.ExitFailed},
	} {
		j := &job{killed: c.killed}
		err := j.reported(exact.New(exact.Options{}), c.err)
		if got := outcome.Classify(err).ExitCode; got != c.code {
			t.Errorf("%s: exit code %d (%v), want %d", name, got, err, c.code)
		}
	}
}
