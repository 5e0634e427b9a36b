package main

import (
	"context"
	"errors"
	"time"

	"kshell/internal/exact"
	"kshell/internal/stream"
)

// unprovoked is the time after which the end of a shell is no longer attributed to
// what the user typed last.
const unprovoked = 2 * time.Second

// errNotEnded means that the server reports success for a shell that still runs, or
// whose node does not answer.
var errNotEnded = errors.New("the server claims that the shell has ended, and it has not")

// doubting returns a judge that verifies a reported success before it calls judge.
// When a node's kubelet dies, API servers that translate the protocol themselves
// (Kubernetes 1.30 to 1.35) report success for the sessions that were cut off. So if a
// shell succeeds and the user has typed nothing that ends it, doubting checks whether
// the shell still runs in its container. (The outcome of a command without a tty is
// known from exact mode.)
func (j *job) doubting(shell *exact.Shell, judge judgement) judgement {
	return func(ctx context.Context, err error) error {
		if err == nil && !j.in.leaves() && j.runsOn(ctx, shell) {
			err = &stream.LostError{Err: errNotEnded}
		}
		if judge == nil {
			return err
		}
		return judge(ctx, err)
	}
}

// judgement is the type of stream.Session's Judge.
type judgement = func(ctx context.Context, err error) error

// runsOn reports whether the shell still runs. It also returns true if its node does
// not answer, and if ctx is canceled before the answer.
func (j *job) runsOn(ctx context.Context, shell *exact.Shell) bool {
	probe := shell.AliveCommand()
	if probe == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	err := j.quietly(ctx, j.at, probe)
	return err == nil || ctx.Err() != nil || unanswered(err)
}
