package remote

import (
	"testing"

	"kshell/internal/exact"
	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// A command that may have been started is not run again without the script.
func TestWhyNotStarted(t *testing.T) {
	exit := &stream.ExitError{Code: 2}
	for name, c := range map[string]struct {
		state exact.State
		err   error
		again bool
	}{
		"a success without a report":  {exact.Unknown, nil, false},
		"a code without a report":     {exact.Unknown, exit, false},
		"no sh":                       {exact.Unknown, &stream.RemoteError{Start: stream.StartNotFound}, true},
		"a lost connection":           {exact.Unknown, &stream.LostError{Err: errUnreported}, false},
		"running":                     {exact.Running, exit, false},
		"ended":                       {exact.Ended, exit, false},
		"ended with the script":       {exact.Failed, exit, false},
		"no such command":             {exact.NoCommand, exit, true},
		"no process could be started": {exact.NotStarted, exit, true},
	} {
		if why := whyNotStarted(c.state, c.err); (why != "") != c.again {
			t.Errorf("%s: %q", name, why)
		}
	}
}

// An exit code that only the server reports is not returned as the command's
// exit code.
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
		"a lost connection":               {lost, false, outcome.ExitFailed},
		"no such command":                 {errNoCommand, false, outcome.ExitNotFound},
		"success":                         {nil, false, outcome.ExitFailed},
	} {
		cmd := &Command{killed: c.killed}
		err := cmd.reported(exact.New(exact.Options{}), c.err)
		if got := outcome.Classify(err).ExitCode; got != c.code {
			t.Errorf("%s: exit code %d (%v), want %d", name, got, err, c.code)
		}
	}
}
