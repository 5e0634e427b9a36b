package main

import (
	"context"
	"errors"
	"time"

	"k8s.io/client-go/rest"

	"kshell/internal/exact"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

// asking bounds one look at what has become of a command.
const asking = 8 * time.Second

// errNeverSaid is the end of a command that the server did not tell: it is stuck with input that nobody reads any more.
var errNeverSaid = errors.New("the command has ended with input unread, and the server, which is stuck with that, does not say how")

// errRestarted is the end of everything that ran in a container.
var errRestarted = errors.New("the container has ended since, and the server does not say how the command did")

// stuck is stream.Session's Stuck: where the server does not answer any more, the pod and its container are asked.
func (j *job) stuck(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	j.notice.Detail("the server says nothing, and may be stuck with unread input: asking the pod")
	if ended := lookAgain(ctx, j.beside, j.at); ended != nil {
		return ended
	}
	var exit *stream.ExitError
	switch err := j.quietly(ctx, j.at, exact.ProbeCommand()); {
	case err == nil: // it runs
	case errors.As(err, &exit) && exit.Code == exact.NoneLeft:
		return errNeverSaid
	case ctx.Err() != nil: // nobody wants to know any more, or another time
	default:
		j.unknown.Do(func() {
			j.notice.Note("the server takes no input and says nothing; whether the command still runs cannot be found out")
		})
	}
	return nil
}

// lookAgain says whether the container that was chosen runs no longer; nil if it does, or if nobody can say.
func lookAgain(ctx context.Context, cfg *rest.Config, at place) error {
	if at.seen == nil {
		return nil
	}
	client, err := pod.NewClient(cfg)
	if err != nil {
		return err
	}
	if _, over, err := client.DescribeChange(ctx, at.seen); err == nil && over { // an error says nothing about the pod
		return errRestarted
	}
	return nil
}
