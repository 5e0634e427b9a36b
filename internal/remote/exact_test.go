package remote

import (
	"errors"
	"net/http"
	"sync"
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

// Commands that share a Cluster, as in a fan-out, run at the same time. If the
// server limits the length of the request, each of them is refused once, and
// sends the script on stdin after that. Later commands begin with stdin.
func TestShortened_ParallelCommands(t *testing.T) {
	cluster := newCluster(t)
	tooLong := &stream.HandshakeError{StatusCode: http.StatusRequestURITooLong}
	const parallel = 3
	var refused, done sync.WaitGroup
	refused.Add(parallel)
	run := func(waits bool) error {
		c := newCommand(t, cluster)
		attempts := 0
		return c.shortened(func() error {
			attempts++
			script := exact.New(exact.Options{})
			if size := len(c.scriptRequest(c.Target(), script).Query.Encode()); size < 1000 {
				return nil
			}
			if waits && attempts == 1 { // all commands are refused before one of them tries again
				refused.Done()
				refused.Wait()
			}
			return tooLong
		})
	}
	for range parallel {
		done.Go(func() {
			if err := run(true); err != nil {
				t.Errorf("a parallel command: %v", err)
			}
		})
	}
	done.Wait()
	if !cluster.limitsLine.Load() {
		t.Error("it is not recorded that the server limits the request")
	}
	if err := run(false); err != nil {
		t.Errorf("a later command: %v", err)
	}
}

// A command whose second, shorter request is refused, too, does not change what
// another command has found out.
func TestShortened_RefusedTwice(t *testing.T) {
	cluster := newCluster(t)
	refused := &stream.HandshakeError{StatusCode: http.StatusRequestURITooLong}
	attempts := 0
	err := newCommand(t, cluster).shortened(func() error {
		if attempts++; attempts == 2 {
			cluster.limitsLine.Store(true) // another command has succeeded
		}
		return refused
	})
	if !errors.Is(err, refused) || attempts != 2 || !cluster.limitsLine.Load() {
		t.Errorf("error %v after %d attempts, limit recorded: %v", err, attempts, cluster.limitsLine.Load())
	}
	cluster = newCluster(t)
	_ = newCommand(t, cluster).shortened(func() error { return refused })
	if cluster.limitsLine.Load() {
		t.Error("a limit is recorded, although the short request is refused, too")
	}
}
