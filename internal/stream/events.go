package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Events receives a stream of messages from a server, such as a watch, in which
// each message is one JSON event. Use NewEvents.
type Events struct {
	*link
	deliver func(message []byte) error
}

// NewEvents returns Events that are ready to run. deliver is called from Run's
// goroutine with each message that is not empty; JSON returns a function that
// decodes the messages. The bytes of the message are valid until deliver
// returns. An error that deliver returns ends Run. observe is called as
// described at NewSession.
func NewEvents(d Driver, observe func(Event), s LinkSettings, deliver func(message []byte) error) *Events {
	return &Events{link: newLink(d, observe, s), deliver: deliver}
}

// JSON returns a function for NewEvents that decodes each message into a T.
func JSON[T any](deliver func(T) error) func([]byte) error {
	return func(message []byte) error {
		var v T
		if err := json.Unmarshal(message, &v); err != nil {
			return fmt.Errorf("unreadable message: %w", err)
		}
		return deliver(v)
	}
}

// Run delivers messages until a connection ends and the policy does not allow a
// new one, or until the server reports that the requested resourceVersion is too
// old. In the second case, Run returns an *EventError and opens no new
// connection, because that would request the same version. The other errors are
// *LostError, *HandshakeError, *DialError, *ProtocolError, *NotReadyError, the
// context's cause, and those of Driver.Opened and deliver.
func (e *Events) Run(ctx context.Context) error {
	return e.run(ctx, e.driver.Dial, e.use)
}

func (e *Events) use(ctx context.Context, conn *Conn) error {
	defer context.AfterFunc(ctx, conn.close)()
	if err := e.opened(ctx, conn); err != nil {
		return err
	}
	defer func() { conn.endedAt = time.Now() }()
	return conn.messages(ctx, func(message []byte) error {
		conn.delivered = true
		if err := e.deliver(message); err != nil {
			return err
		}
		if failure := eventError(message); failure.Expired() {
			failure.final = true
			return failure
		}
		return nil
	})
}
