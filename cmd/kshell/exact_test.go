package main

import (
	"testing"

	"kshell/internal/exact"
	"kshell/internal/stream"
)

// What may have run is not run again without the script: only what is known not to have.
func TestOnlyWhatHasNotRunIsRunPlainly(t *testing.T) {
	exit := &stream.ExitError{Code: 2}
	for name, c := range map[string]struct {
		state      exact.State
		err        error
		complained bool
		again      bool
	}{
		"a success without a word":             {exact.Unknown, nil, false, false},
		"a code, and all of the output lost":   {exact.Unknown, exit, false, false},
		"a foreign sh complains of the script": {exact.Unknown, exit, true, true},
		"there is no sh":                       {exact.Unknown, &stream.RemoteError{Start: stream.StartNotFound}, false, true},
		"a link that was lost":                 {exact.Unknown, &stream.LostError{Err: errUnreported}, true, false},
		"it runs":                              {exact.Running, exit, true, false},
		"it has ended":                         {exact.Ended, exit, true, false},
		"there is no such command":             {exact.Missing, exit, false, true},
	} {
		if why := obstacle(c.state, c.err, c.complained); (why != "") != c.again {
			t.Errorf("%s: %q", name, why)
		}
	}
}
