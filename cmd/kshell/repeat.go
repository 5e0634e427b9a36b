package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// persist returns the Persist of a stream.Link: attempts are repeated for up to
// --connect-timeout, unless the server answers with a refusal that is not temporary.
func (j *job) persist() func(error, time.Duration) bool {
	begin := time.Now()
	return func(err error, delay time.Duration) bool {
		var refused *stream.HandshakeError
		if errors.As(err, &refused) && !temporary(refused) {
			return false
		}
		return time.Since(begin)+delay <= j.plan.live.connectTimeout
	}
}

// temporary reports whether the server is overloaded, restarts, or cannot reach the node.
func temporary(e *stream.HandshakeError) bool {
	switch e.Refusal() {
	case stream.RefusalBusy, stream.RefusalUnavailable, stream.RefusalUnreachable:
		return !e.Page
	}
	return false
}

// repeats tells of the attempts of a session at which nobody sits, and has its command run again if --reconnect says that it may be.
func (j *job) repeats(s *stream.Session) {
	s.Reconnect, s.GiveUpAfter = j.plan.live.policy(stream.ReconnectNever), j.plan.live.reconnectTimeout
	var cause error
	s.OnFail = func(err error) { cause = err }
	s.OnWait = func(delay time.Duration) {
		var lost *stream.LostError
		if errors.As(cause, &lost) {
			j.notice.WarnAlways("%s; the command is run again in %s", cause, seconds(delay))
			return
		}
		j.notice.WarnAlways("%s; trying again in %s", cause, seconds(delay))
	}
}

// checkRepeat refuses to run a command again whose input is gone.
func (p *execPlan) checkRepeat(cmd *cobra.Command) error {
	if p.live.reconnect != reconnectAlways || p.tty || !p.stdin {
		return nil
	}
	return outcome.NewUsageError("--reconnect=always runs the command again, and its input is read only once", cmd.CommandPath()+" without -i, or --reconnect=auto")
}
