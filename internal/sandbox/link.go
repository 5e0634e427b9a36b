package sandbox

import (
	"io"
	"sync"
	"time"
)

// linkBuffer is how much lies in flight, in bytes, before the server notices that its client is slow: what Linux lets the send
// buffer of a socket grow to.
const linkBuffer = 4 << 20

// linkPiece is the most that goes out at once, in bytes.
const linkPiece = 8 << 10

// kernelBuffer is the send buffer of a socket below a link, in bytes: what the link holds has to be the most of what is in flight.
const kernelBuffer = 32 << 10

// link is a way to the client on which bytes are in flight: written as far as the server knows, not yet with the client.
type link struct {
	out  io.Writer
	rate int64           // bytes a second; 0: as fast as out takes them
	gone <-chan struct{} // closed when out is of no use any more
	done chan struct{}   // closed when the link has ended

	mu       sync.Mutex
	moved    sync.Cond
	data     []byte
	busy     bool   // a piece is on its way
	finished func() // called at the end of all data, if that is ever reached
	ended    bool   // it has been called
	broken   bool
}

func newLink(out io.Writer, rate int64, gone <-chan struct{}) *link {
	l := &link{out: out, rate: rate, gone: gone, done: make(chan struct{})}
	l.moved.L = &l.mu
	return l
}

// Write waits only while the link is full.
func (l *link) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.data) > 0 && len(l.data)+len(p) > linkBuffer && !l.broken {
		l.moved.Wait()
	}
	if l.broken || l.finished != nil {
		return 0, errFault
	}
	l.data = append(l.data, p...)
	l.moved.Broadcast()
	return len(p), nil
}

// finish has done called once all data is out. Nothing may be written any more. Finished again, the later one counts.
func (l *link) finish(done func()) {
	l.mu.Lock()
	l.finished = done
	ended := l.ended
	l.moved.Broadcast()
	l.mu.Unlock()
	if ended {
		done()
	}
}

// destroy loses what is in flight.
func (l *link) destroy() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken, l.data = true, nil
	l.moved.Broadcast()
}

// drained waits until nothing is in flight, and says whether that was so within the time.
func (l *link) drained(within time.Duration) bool {
	end := time.Now().Add(within)
	timer := time.AfterFunc(within, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.moved.Broadcast()
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for (len(l.data) > 0 || l.busy) && !l.broken && time.Now().Before(end) {
		l.moved.Wait()
	}
	return len(l.data) == 0 && !l.busy && !l.broken
}

// run carries until the link is finished or destroyed, or out fails.
func (l *link) run() {
	defer close(l.done)
	buf := make([]byte, linkPiece)
	for {
		n, finished := l.next(buf)
		switch {
		case finished != nil:
			finished()
			return
		case n == 0:
			return
		}
		if _, err := l.out.Write(buf[:n]); err != nil {
			l.destroy()
			return
		}
		if l.rate > 0 {
			select {
			case <-time.After(time.Duration(n) * time.Second / time.Duration(l.rate)):
			case <-l.gone:
			}
		}
	}
}

// next takes the next piece. Without one the link is at its end: finished, or destroyed.
func (l *link) next(buf []byte) (n int, finished func()) {
	if l.rate > 0 { // a slow link moves in small steps, not in leaps
		buf = buf[:min(int64(len(buf)), max(l.rate/50, 64))]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
	l.moved.Broadcast()
	for len(l.data) == 0 && l.finished == nil && !l.broken {
		l.moved.Wait()
	}
	if l.broken {
		return 0, nil
	}
	if len(l.data) == 0 {
		l.ended = true
		return 0, l.finished
	}
	n = copy(buf, l.data)
	l.data = l.data[n:]
	l.busy = true
	l.moved.Broadcast()
	return n, nil
}
