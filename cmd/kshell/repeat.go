package main

import (
	"errors"

	"github.com/spf13/cobra"

	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// attempts tells the user about the attempts to connect of a session without a
// terminal.
type attempts struct {
	job   *job
	cause error // the last failure
	quiet bool  // the user was told that the server does not answer
}

func (a *attempts) observe(e stream.Event) {
	n := a.job.notice
	switch e := e.(type) {
	case stream.Failed:
		a.cause = e.Err
	case stream.Waiting:
		var lost *stream.LostError
		if errors.As(a.cause, &lost) {
			n.WarnAlways("%s; the command is run again in %s", a.cause, seconds(e.Delay))
			return
		}
		n.WarnAlways("%s; trying again in %s", a.cause, seconds(e.Delay))
	case stream.Overdue:
		switch {
		case e.For == 0 && a.quiet:
			a.quiet = false
			n.Note("the connection is alive again")
		case e.For > 0 && !a.quiet:
			a.quiet = true
			n.Note("no reply for %s", seconds(e.For))
		}
	}
}

// checkRepeat refuses to run a command again whose input is gone.
func (p *execPlan) checkRepeat(cmd *cobra.Command) error {
	if p.live.reconnect != reconnectAlways || p.tty || !p.stdin {
		return nil
	}
	return outcome.NewUsageError("--reconnect=always runs the command again, and its input is read only once", cmd.CommandPath()+" without -i, or --reconnect=auto")
}
