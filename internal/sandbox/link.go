package sandbox

import (
	"io"
	"sync"
	"time"
)

// linkBuffer is the maximum number of bytes in flight. If it is reached, writes
// wait. Linux grows the send buffer of a socket up to the same size.
const linkBuffer = 4 << 20

// linkPiece is the maximum number of bytes in one write to the socket.
const linkPiece = 8 << 10

// kernelBuffer is the size of the kernel's send buffer, in bytes. It is small,
// so that most of the bytes in flight wait in link.data and not in the kernel.
const kernelBuffer = 32 << 10

// link holds the bytes in flight to a client: the server has written them,
// but the client's kernel has not received them.
type link struct {
	out  io.Writer
	rate int64           // bytes per second; 0: no limit
	gone <-chan struct{} // closed when out is closed
	done chan struct{}   // closed when the link has ended

	mu       sync.Mutex
	cond     sync.Cond
	data     []byte
	busy     bool   // a write to out is in progress
	finished func() // called after the last byte
	ended    bool   // finished was called
	broken   bool
}

func newLink(out io.Writer, rate int64, gone <-chan struct{}) *link {
	l := &link{out: out, rate: rate, gone: gone, done: make(chan struct{})}
	l.cond.L = &l.mu
	return l
}

// Write waits only if the link is full.
func (l *link) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.data) > 0 && len(l.data)+len(p) > linkBuffer && !l.broken {
		l.cond.Wait()
	}
	if l.broken || l.finished != nil {
		return 0, errFault
	}
	l.data = append(l.data, p...)
	l.cond.Broadcast()
	return len(p), nil
}

// finish makes the link call the function done after the last byte. Later calls
// of Write return an error. If finish is called again before the last byte, the
// link calls only the function of the later call.
func (l *link) finish(done func()) {
	l.mu.Lock()
	l.finished = done
	ended := l.ended
	l.cond.Broadcast()
	l.mu.Unlock()
	if ended {
		done()
	}
}

// destroy discards what is in flight.
func (l *link) destroy() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken, l.data = true, nil
	l.cond.Broadcast()
}

// drained waits until nothing is in flight. The parameter within is the maximum
// waiting time. drained reports whether everything was delivered.
func (l *link) drained(within time.Duration) bool {
	end := time.Now().Add(within)
	timer := time.AfterFunc(within, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cond.Broadcast()
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for (len(l.data) > 0 || l.busy) && !l.broken && time.Now().Before(end) {
		l.cond.Wait()
	}
	return len(l.data) == 0 && !l.busy && !l.broken
}

// run writes to out until the link is finished or destroyed, or a write fails.
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

// next waits for bytes and copies them to buf. If the link is finished, it
// returns 0 and the function to call. If the link is destroyed, it returns 0
// and nil.
func (l *link) next(buf []byte) (n int, finished func()) {
	if l.rate > 0 { // small pieces keep the rate even
		buf = buf[:min(int64(len(buf)), max(l.rate/50, 64))]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
	l.cond.Broadcast()
	for len(l.data) == 0 && l.finished == nil && !l.broken {
		l.cond.Wait()
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
	l.cond.Broadcast()
	return n, nil
}
