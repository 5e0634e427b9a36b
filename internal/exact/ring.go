package exact

// ring is a queue of at most maxBlock bytes. Its buffer grows when necessary.
type ring struct {
	buf        []byte
	start, len int // the queue is buf[start:], and continues at buf[0] after the end of buf
}

// write appends p, which must fit: len+len(p) is at most maxBlock.
func (r *ring) write(p []byte) {
	r.grow(r.len + len(p))
	end := (r.start + r.len) % max(len(r.buf), 1)
	n := copy(r.buf[end:], p)
	copy(r.buf, p[n:])
	r.len += len(p)
}

// grow makes the buffer large enough for n bytes. If n is larger than 2*pieceSize,
// the buffer gets maxBlock bytes: a buffer that grows step by step leaves more garbage
// than a large buffer of which only a part is used.
func (r *ring) grow(n int) {
	switch {
	case n <= len(r.buf):
		return
	case n <= 2*pieceSize:
		n = max(n, pieceSize)
	default:
		n = maxBlock
	}
	buf := make([]byte, n)
	r.copyTo(buf)
	r.buf, r.start = buf, 0
}

// copyTo copies the first bytes of the queue to p, and returns their number.
func (r *ring) copyTo(p []byte) int {
	first := r.buf[r.start:min(r.start+r.len, len(r.buf))]
	n := copy(p, first)
	return n + copy(p[n:], r.buf[:r.len-len(first)])
}

// discard removes the first n bytes of the queue.
func (r *ring) discard(n int) {
	r.len -= n
	if r.start += n; r.start >= len(r.buf) {
		r.start -= len(r.buf)
	}
	if r.len == 0 {
		r.start = 0
	}
}
