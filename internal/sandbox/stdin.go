package sandbox

import (
	"errors"
	"io"
	"sync"
	"time"
)

// chunk is the most that one message to the client carries, in bytes, and the size of every read.
const chunk = 32 << 10

// unreadLimit is how much stdin a server holds beside the 64 KiB of the command's pipe. Both together are the 160 KiB
// of unread stdin above which real servers never end a session. (What a command's pipe does not hold any more when it ends
// makes it less.)
const unreadLimit = 96 << 10

// Stdin may still be arriving when a command ends. It has arrived when none came for quietFor, or bulkQuietFor where there was
// much of it, and after settleFor in any case.
const (
	quietFor     = 5 * time.Millisecond
	bulkQuietFor = 50 * time.Millisecond
	settleFor    = 500 * time.Millisecond
)

var errStdinGone = errors.New("nobody reads stdin any more")

// stdinQueue carries stdin from the socket to the command.
type stdinQueue struct {
	mu      sync.Mutex
	moved   sync.Cond
	data    []byte
	came    time.Time // when the last of it came
	much    bool      // at least a chunk has come
	closed  bool      // no more will come
	broken  bool      // nobody reads any more, and writers are told
	blocked bool      // a writer waits for room
}

func newStdinQueue() *stdinQueue {
	q := &stdinQueue{data: make([]byte, 0, unreadLimit)}
	q.moved.L = &q.mu
	return q
}

// Write blocks while the queue is full.
func (q *stdinQueue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	q.came = time.Now()
	q.much = q.much || len(p) == chunk || len(q.data) >= chunk
	for len(p) > 0 {
		for len(q.data) == unreadLimit && !q.broken {
			q.blocked = true
			q.moved.Wait()
			q.blocked = false
		}
		if q.broken {
			return n, errStdinGone
		}
		m := min(len(p), unreadLimit-len(q.data))
		q.data = append(q.data, p[:m]...)
		p = p[m:]
		n += m
		q.moved.Broadcast()
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
		q.moved.Wait()
	}
	n := copy(p, q.data)
	q.data = q.data[:copy(q.data, q.data[n:])]
	q.moved.Broadcast()
	return n, nil
}

func (q *stdinQueue) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.moved.Broadcast()
}

func (q *stdinQueue) abandon() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.broken = true
	q.moved.Broadcast()
}

// ended says whether the end of stdin has come.
func (q *stdinQueue) ended() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// stuck says whether more stdin has come than anybody will take. It is asked when the command has ended, and gives what is
// just arriving a moment.
func (q *stdinQueue) stuck() bool {
	begin := time.Now()
	for {
		q.mu.Lock()
		blocked, closed, quiet, enough := q.blocked, q.closed, min(time.Since(q.came), time.Since(begin)), quietFor
		if q.much {
			enough = bulkQuietFor
		}
		q.mu.Unlock()
		if blocked || closed || quiet > enough || time.Since(begin) > settleFor {
			return blocked
		}
		time.Sleep(time.Millisecond)
	}
}
