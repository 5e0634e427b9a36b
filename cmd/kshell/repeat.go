package main

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kshell/internal/stream"
)

// persist says which attempts to connect are repeated, before anything has run: those within --connect-timeout, but for what does not pass
// by itself, and for a web page in place of an API.
func (j *job) persist() func(error, time.Duration) bool {
	begin := time.Now()
	return func(err error, delay time.Duration) bool {
		var refused *stream.HandshakeError
		if errors.As(err, &refused) && (refused.Page || !mayPass(refused)) {
			return false
		}
		return time.Since(begin)+delay <= j.plan.live.connectTimeout
	}
}

// mayPass says whether a refusal is one of a server that is overloaded, or restarting, or cannot reach the node just now.
func mayPass(e *stream.HandshakeError) bool {
	switch e.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return strings.Contains(e.Error(), "error dialing backend") // k8s.io/apimachinery util/proxy
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
	return &usageError{"--reconnect=always runs the command again, and its input is read only once", cmd.CommandPath() + " without -i, or --reconnect=auto"}
}
