package sandbox

import (
	"errors"
	"io"
	"sync"
	"time"
)

// chunk is the maximum payload of one message to the client, and the size of
// every read, in bytes.
const chunk = 32 << 10

// unreadLimit is how much stdin the server buffers, in bytes. The pipe of the
// command buffers 64 KiB more, so that the sum is 160 KiB. If more stdin is
// unread, real servers never end the session. If the command has closed its
// pipe, less unread stdin has the same effect.
const unreadLimit = 96 << 10

// When a command exits, stdin may still be arriving. The method stuck waits
// until no stdin has arrived for quietTime, or for bulkQuietTime if
// stdinQueue.bulk is set. It waits at most settleTime.
const (
	quietTime     = 5 * time.Millisecond
	bulkQuietTime = 50 * time.Millisecond
	settleTime    = 500 * time.Millisecond
)

var errStdinGone = errors.New("the command does not read stdin any more")

// stdinQueue passes stdin from the socket to the command.
type stdinQueue struct {
	mu        sync.Mutex
	cond      sync.Cond
	data      []byte
	lastWrite time.Time // of the last Write
	bulk      bool      // chunk bytes have arrived in one Write, or were waiting in data
	closed    bool      // there will be no more writes
	broken    bool      // there will be no more reads; Write fails
	blocked   bool      // a Write is waiting for space
}

func newStdinQueue() *stdinQueue {
	q := &stdinQueue{data: make([]byte, 0, unreadLimit)}
	q.cond.L = &q.mu
	return q
}

// Write blocks while the queue is full.
func (q *stdinQueue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	q.lastWrite = time.Now()
	q.bulk = q.bulk || len(p) == chunk || len(q.data) >= chunk
	for len(p) > 0 {
		for len(q.data) == unreadLimit && !q.broken {
			q.blocked = true
			q.cond.Wait()
			q.blocked = false
		}
		if q.broken {
			return n, errStdinGone
		}
		m := min(len(p), unreadLimit-len(q.data))
		q.data = append(q.data, p[:m]...)
		p = p[m:]
		n += m
		q.cond.Broadcast()
	}
	return n, nil
}

// Read waits for data or the end.
func (q *stdinQueue) Read(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.data) == 0 {
		if q.closed || q.broken {
			return 0, io.EOF
		}
		q.cond.Wait()
	}
	n := copy(p, q.data)
	q.data = q.data[:copy(q.data, q.data[n:])]
	q.cond.Broadcast()
	return n, nil
}

func (q *stdinQueue) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.cond.Broadcast()
}

func (q *stdinQueue) abandon() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.broken = true
	q.cond.Broadcast()
}

// ended reports whether stdin has ended.
func (q *stdinQueue) ended() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// stuck reports whether a Write will block forever. It is called after the
// command has exited, and waits a moment for data that is still arriving.
func (q *stdinQueue) stuck() bool {
	begin := time.Now()
	for {
		q.mu.Lock()
		blocked, closed, quiet, enough := q.blocked, q.closed, min(time.Since(q.lastWrite), time.Since(begin)), quietTime
		if q.bulk {
			enough = bulkQuietTime
		}
		q.mu.Unlock()
		if blocked || closed || quiet > enough || time.Since(begin) > settleTime {
			return blocked
		}
		time.Sleep(time.Millisecond)
	}
}
