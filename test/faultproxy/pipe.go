package faultproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	chunkSize = 16 << 10
	maxChunks = 64 // in one pipe: about 1 MiB
)

// pipe forwards the bytes of one direction of a connection.
type pipe struct {
	conn     *conn
	dir      Direction
	from, to *net.TCPConn
	chunks   chan chunk // read closes it
	free     time.Time  // used by write: the time at which the slow link is free again
}

// chunk is a piece of data or the end of a direction, with the time at which it
// arrived at the proxy.
type chunk struct {
	data []byte
	at   time.Time
	end  error // io.EOF or a read error
}

func newPipe(c *conn, dir Direction, from, to *net.TCPConn) *pipe {
	return &pipe{conn: c, dir: dir, from: from, to: to, chunks: make(chan chunk, maxChunks)}
}

// run forwards bytes until the direction has ended or the connection is cut.
func (p *pipe) run() {
	var wg sync.WaitGroup
	wg.Go(p.read)
	p.write()
	// Discard the chunks that write has not delivered, until read closes the
	// channel. If read was waiting for bytes, the cut has interrupted it.
	for range p.chunks {
	}
	wg.Wait()
}

func (p *pipe) read() {
	defer close(p.chunks)
	for {
		buf := make([]byte, chunkSize)
		n, err := p.from.Read(buf)
		if n > 0 && !p.push(chunk{data: buf[:n], at: time.Now()}) {
			return
		}
		if err != nil {
			p.push(chunk{end: err, at: time.Now()})
			return
		}
	}
}

func (p *pipe) push(c chunk) bool {
	select {
	case p.chunks <- c:
		return true
	case <-p.conn.stopped.Done():
		return false
	}
}

func (p *pipe) write() {
	for {
		_, _, changed := p.conn.proxy.state() // before the call of exhausted, so that no change is missed
		if by, yes := p.conn.exhausted(p.dir); yes {
			p.conn.cut(Both, by)
			return
		}
		select {
		case <-p.conn.stopped.Done():
			return
		case <-changed: // the new limit may be used up
		case c, ok := <-p.chunks:
			if !ok || !p.deliver(c) {
				return
			}
		}
	}
}

// deliver applies the faults to a chunk and writes it to the receiver. It
// reports whether more chunks of this direction can be delivered.
func (p *pipe) deliver(c chunk) bool {
	for len(c.data) > 0 {
		n := p.wait(c)
		if n == 0 {
			return false
		}
		n = p.conn.allowance(p.dir, min(n, len(c.data)))
		if n > 0 {
			written, err := p.to.Write(c.data[:n])
			p.conn.passed(p.dir, written)
			if err != nil {
				p.refused()
				return false
			}
			c.data = c.data[n:]
		}
		if by, yes := p.conn.exhausted(p.dir); yes {
			p.conn.cut(Both, by)
			return false
		}
	}
	if c.end == nil {
		return true
	}
	if p.wait(c) == 0 {
		return false
	}
	if !errors.Is(c.end, io.EOF) {
		p.conn.cut(Both, RST)
		return false
	}
	_ = p.to.CloseWrite()
	return false
}

// refused is called when the receiver has reset its connection. It cuts the
// connection by RST, but only after the delay of the opposite direction,
// because that is when the reset would reach the sender.
func (p *pipe) refused() {
	back := pipe{conn: p.conn, dir: ToServer + ToClient - p.dir}
	if back.wait(chunk{at: time.Now()}) > 0 {
		p.conn.cut(Both, RST)
	}
}

// wait waits until some bytes of a chunk may be delivered, and returns their
// maximum number. It returns 0 if the connection is cut.
func (p *pipe) wait(c chunk) int {
	for {
		f, _, changed := p.conn.proxy.state()
		piece, due := chunkSize, c.at.Add(f.delay[p.dir])
		if rate := f.rate[p.dir]; rate > 0 {
			piece = max(1, min(piece, rate/20))
			if p.free.After(due) {
				due = p.free
			}
		}
		late := time.Until(due)
		held := f.held[p.dir] || f.drop
		if late <= 0 && !held {
			if p.conn.stopped.Err() != nil {
				return 0
			}
			if rate := f.rate[p.dir]; rate > 0 {
				sent := min(piece, max(1, len(c.data)))
				p.free = time.Now().Add(time.Duration(float64(sent) / float64(rate) * float64(time.Second)))
			}
			return piece
		}
		var ready <-chan time.Time
		if !held {
			ready = time.After(late)
		}
		select {
		case <-p.conn.stopped.Done():
			return 0
		case <-changed:
		case <-ready:
		}
	}
}
