package stream

import (
	"context"
	"errors"
	"time"
)

const (
	// stuckAfter is how long the server may send nothing before it is pinged.
	// pongWithin is how long it may take to answer that ping.
	stuckAfter = 5 * time.Second
	pongWithin = 5 * time.Second
	// answeringAfter is how long a server may send only answers to pings before
	// CheckStuck is called. These answers do not prove that the command reads its
	// stdin: an API server that translates WebSocket to SPDY answers pings, and
	// accepts megabytes of stdin that the command has not read (measured on
	// Kubernetes 1.37).
	answeringAfter = 30 * time.Second
	// unreadLimit is the smallest amount of stdin that can block a server, in
	// bytes: the capacity of a pipe.
	unreadLimit = 64 << 10
	// checksInVain is the number of consecutive calls of CheckStuck without an
	// answer after which the network may be out.
	checksInVain = 3
)

// ErrUnanswered is the error of CheckStuck if the server did not answer.
var ErrUnanswered = errors.New("the server did not answer the check of the command")

// watchStuck calls checker as described at Settings.CheckStuck. If checker
// returns an error other than ErrUnanswered, watchStuck passes the error to end,
// and returns.
func (s *Session) watchStuck(ctx context.Context, conn *Conn, checker StuckChecker, end func(error)) {
	timer := time.NewTimer(stuckAfter)
	defer timer.Stop()
	answering := answeringAfter
	for ; ; timer.Reset(stuckAfter) {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		silent := conn.quiet()
		switch {
		case conn.sent.Load() < unreadLimit || silent < stuckAfter:
			answering = answeringAfter
			continue
		case conn.pong(ctx, pongWithin):
			if silent < answering {
				continue
			}
			answering = 2 * silent // the command is probably busy, so the next check comes later
		case ctx.Err() != nil:
			return // the ping was canceled
		case conn.quiet() < stuckAfter:
			continue
		}
		switch err := checker.CheckStuck(ctx); {
		case err == nil:
			conn.failedChecks.Store(0)
		case errors.Is(err, ErrUnanswered):
			conn.failedChecks.Add(1)
		default:
			end(err)
			return
		}
	}
}
