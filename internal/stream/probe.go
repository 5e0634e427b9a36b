package stream

import (
	"context"
	"errors"
	"time"

	"kshell/internal/group"
)

// Probe opens a WebSocket for r and closes it. The errors are those of Dial.
func (d *Dialer) Probe(ctx context.Context, r Request) error {
	conn, err := d.Dial(ctx, r)
	if err == nil {
		conn.end()
	}
	return err
}

// errNoPong means that a connection was open and idle, and is dead.
var errNoPong = errors.New("the connection is still open here, but the server does not answer a ping")

// Idle opens a WebSocket for r, which must be a stream of plain messages, and
// waits until the connection ends, but at most for limit. In this time, Idle
// sends nothing on the WebSocket, not even pings. After limit, it sends a ping.
// opened is called when the connection is open.
//
// Idle returns how long the connection was open. The error is nil if the server
// has answered the ping, a *LostError if the connection has ended or the ping was
// not answered within 10 s, an error of Dial, or the context's cause.
func (d *Dialer) Idle(ctx context.Context, r Request, limit time.Duration, opened func()) (time.Duration, error) {
	conn, err := d.Dial(ctx, r)
	if err != nil {
		return 0, err
	}
	opened()
	start := time.Now()
	ended := make(chan error, 1)
	var reading group.Group
	reading.Go(func() { ended <- conn.messages(ctx, func([]byte) error { return nil }) })
	defer reading.Wait()
	defer conn.end()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-ended:
		return time.Since(start), err
	case <-ctx.Done():
		return time.Since(start), context.Cause(ctx)
	case <-timer.C:
	}
	if !conn.pong(ctx, idlePong) && ctx.Err() == nil {
		return limit, &LostError{Err: errNoPong}
	}
	return limit, context.Cause(ctx)
}

// idlePong is how long the server may take to answer the ping of Idle.
const idlePong = 10 * time.Second
