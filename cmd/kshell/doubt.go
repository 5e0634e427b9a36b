package main

import (
	"context"
	"errors"
	"time"

	"kshell/internal/exact"
	"kshell/internal/stream"
)

// unprovoked is how long ago the user asked for the end of a shell, at least, when it comes as a surprise.
const unprovoked = 2 * time.Second

// errNotEnded is what a server's success means when the shell that it speaks of still runs, or its node cannot be asked.
var errNotEnded = errors.New("the server claims that the shell has ended, and it has not")

// doubting is judge, behind a doubt: where a node's kubelet dies, API servers that translate the protocol themselves (Kubernetes 1.30 to 1.35) report
// an explicit success of what was cut off. What ends in success though nobody has just asked for it is looked for in its container. (A command
// without a tty says itself how it ended: see exact mode.)
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

// runsOn reports whether the shell still runs, or its node does not answer, or
// the user did not want to wait for the answer.
func (j *job) runsOn(ctx context.Context, shell *exact.Shell) bool {
	probe := shell.Alive()
	if probe == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	err := j.quietly(ctx, j.at, probe)
	return err == nil || ctx.Err() != nil || unanswered(err)
}
