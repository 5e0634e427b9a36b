package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Events receives the messages that a server sends of itself, such as a watch: one JSON event a message.
type Events struct {
	Link

	// OnMessage takes each message that is not empty, from Run's goroutine; see JSON for values. The bytes are valid until it
	// returns. Its error ends Run. Required.
	OnMessage func(message []byte) error
}

// JSON makes an OnMessage that decodes each message into a T.
func JSON[T any](deliver func(T) error) func([]byte) error {
	return func(message []byte) error {
		var v T
		if err := json.Unmarshal(message, &v); err != nil {
			return fmt.Errorf("unreadable message: %w", err)
		}
		return deliver(v)
	}
}

// Run delivers until the link ends: see Session.Run, of whose errors it has *LostError (every end of a stream that the policy does
// not take up again), *HandshakeError, *DialError, *ProtocolError and the context's cause; and OnMessage's own.
func (e *Events) Run(ctx context.Context) error {
	return e.run(ctx, e.use)
}

func (e *Events) use(ctx context.Context, conn *Conn) error {
	defer context.AfterFunc(ctx, conn.close)()
	if err := e.opened(conn); err != nil {
		return err
	}
	defer func() { conn.endedAt = time.Now() }()
	for {
		_, r, err := conn.ws.Reader(context.Background())
		if err != nil {
			return &LostError{err}
		}
		message, err := conn.whole(r)
		if err != nil {
			return &LostError{err}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(bytes.TrimSpace(message)) == 0 {
			continue
		}
		conn.delivered = true
		if err := e.OnMessage(message); err != nil {
			return err
		}
	}
}
