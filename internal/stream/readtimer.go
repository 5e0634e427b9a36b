package stream

import (
	"sync/atomic"
	"time"
)

// readTimer measures how long the Read in progress on a connection has waited
// for bytes. For a WebSocket, it is below the protocol library, so that it also
// measures waits within a message. Use newReadTimer: the zero value is not
// usable. It does not allocate. Any goroutine may call silence.
type readTimer struct {
	created time.Time
	begun   atomic.Int64 // when the Read in progress began, in nanoseconds after created; or notReading
}

const notReading = -1

func newReadTimer() *readTimer {
	t := &readTimer{created: time.Now()}
	t.end()
	return t
}

// begin is called before each Read of the connection, and end after it.
func (t *readTimer) begin() { t.begun.Store(int64(time.Since(t.created))) }
func (t *readTimer) end()   { t.begun.Store(notReading) }

// silence returns how long the Read in progress has waited for bytes. It is 0
// if no Read is in progress, for example because the reader of the output is
// paused.
func (t *readTimer) silence() time.Duration {
	begun := t.begun.Load()
	if begun == notReading {
		return 0
	}
	return time.Since(t.created) - time.Duration(begun)
}
