package node

import "bytes"

// tailSize is the minimum number of bytes that a tail keeps.
const tailSize = 64 << 10

// tail keeps the last tailSize to 2*tailSize bytes of a text.
type tail struct {
	text []byte
	cut  bool // the beginning of the text was removed
}

func (t *tail) add(p []byte) {
	if len(t.text)+len(p) <= 2*tailSize {
		t.text = append(t.text, p...)
		return
	}
	t.cut = true
	p = p[max(0, len(p)-tailSize):]
	t.text = append(t.text[:0], t.text[max(0, len(t.text)+len(p)-tailSize):]...)
	t.text = append(t.text, p...)
}

// amount is an amount of text.
type amount struct{ bytes, lines int64 }

func (a *amount) add(text []byte) {
	a.bytes += int64(len(text))
	a.lines += int64(bytes.Count(text, []byte("\n")))
}

// segment is output without gaps that a stream has delivered and that was not
// written yet.
type segment struct {
	raw     []byte // as the stream delivered it
	text    []byte // raw without the CRs that a crStripper removes
	omitted amount // the text that was removed from the beginning; see limit
	crs     crStripper
}

// limit removes the beginning of raw so that at most size bytes are left.
func (s *segment) limit(size int) {
	excess := len(s.raw) - size
	if excess <= 0 {
		return
	}
	var left amount
	s.omitted.add(s.text)
	s.raw, s.crs = bytes.Clone(s.raw[excess:]), crStripper{}
	s.text = s.crs.strip(nil, s.raw)
	left.add(s.text)
	s.omitted.bytes -= left.bytes
	s.omitted.lines -= left.lines
}

// segments is the output of several streams, oldest first.
type segments struct{ list []segment }

// begin begins the segment of a new stream. It also limits the total size of
// the earlier segments to maxHeld. The text of the previous segment does not
// include the CRs at its end, because an LF may have followed them.
func (s *segments) begin() {
	if last := len(s.list) - 1; last < 0 || len(s.list[last].raw) > 0 {
		s.list = append(s.list, segment{})
	}
	total := 0
	for i := len(s.list) - 1; i >= 0; i-- { // the newest are kept
		s.list[i].limit(max(0, maxHeld-total))
		total += len(s.list[i].raw)
	}
}

// add adds output to the last segment.
func (s *segments) add(p []byte) {
	if len(s.list) == 0 {
		s.list = append(s.list, segment{})
	}
	last := &s.list[len(s.list)-1]
	last.raw = append(last.raw, p...)
	last.text = last.crs.strip(last.text, p)
	if len(last.raw) > 2*maxHeld {
		last.limit(maxHeld)
	}
}

// flush adds the CRs at the end of the last segment to its text. It is called
// when no LF follows them.
func (s *segments) flush() {
	if len(s.list) > 0 {
		last := &s.list[len(s.list)-1]
		last.text = last.crs.flush(last.text)
	}
}

// take returns the segments and removes them. The result has at least one
// segment.
func (s *segments) take() []segment {
	list := s.list
	if len(list) == 0 {
		list = []segment{{}}
	}
	s.list = nil
	return list
}

func hasText(list []segment) bool {
	for _, s := range list {
		if len(s.text) > 0 {
			return true
		}
	}
	return false
}

// logText is text of the container's log, without marks.
type logText struct {
	text      []byte
	placed    bool   // text begins where the written output ends
	complete  bool   // text ends where the last segment ends
	earlier   bool   // text may begin long before the end of the written output
	fromStart bool   // text begins where the written output begins, unless the log was rotated
	lastLines bool   // text is the last lines of the log; nothing was written yet
	omitted   amount // the amount of log before text that was not kept
}

// piece is a part of the result of join.
type piece struct {
	text    []byte // without the CRs that do not count
	raw     []byte // as a stream delivered it; nil if text is from the log
	gap     bool   // output before text is missing, or may be missing
	omitted amount // if gap is set: the output that is certainly missing
}

// minOverlap is the minimum number of bytes that the end of a text and the
// beginning of the next text must have in common, so that join assumes that
// nothing is missing between them.
const minOverlap = 32

// join returns the output that follows shown, the output that was already
// written: log and the segments received, in order and without repetition.
// received has at least one segment. The last segment is that of the current
// stream, and may be empty. The others are those of streams that were lost
// before they were joined. The result includes all of received.
//
// If the log has no gap, it contains all segments, and ends with the last one.
// Otherwise, join uses the longest overlaps of the texts. If two texts overlap
// by less than minOverlap bytes, output may be missing between them.
func join(shown *tail, log logText, received []segment) []piece {
	j := joiner{text: log.text, complete: log.complete}
	earlier, last := received[:len(received)-1], received[len(received)-1]
	gapAtEnd := false
	if log.complete {
		gapAtEnd = j.cutEnd(last.text)
		if log.lastLines && len(j.text) == 0 { // the last lines begin within the segment
			gapAtEnd = false
		}
	}
	if !log.placed && len(shown.text) > 0 {
		earlier = j.place(shown, earlier, log)
	} else if log.omitted.bytes > 0 {
		j.gap, j.omitted = true, log.omitted
	}
	for i, s := range earlier {
		j.emitEarlier(s, earlier[i+1:])
	}
	if !log.complete {
		overlap := overlapOf(j.text, last.text)
		j.text = j.text[:len(j.text)-overlap]
		gapAtEnd = overlap < minOverlap
	}
	j.emit(piece{text: j.text})
	j.gap = j.gap || gapAtEnd
	if len(last.text) > 0 || j.gap {
		j.pieces = append(j.pieces, j.next(piece{text: last.text, raw: last.raw, omitted: last.omitted}))
	}
	return j.pieces
}

// joiner is the state of join.
type joiner struct {
	pieces   []piece
	gap      bool   // the next piece follows a gap
	omitted  amount // see piece
	text     []byte // the rest of the log
	complete bool   // see logText
}

// emit adds a piece, unless it is empty.
func (j *joiner) emit(p piece) {
	if len(p.text) > 0 {
		j.pieces = append(j.pieces, j.next(p))
	}
}

// next returns p with the gap that precedes it.
func (j *joiner) next(p piece) piece {
	if j.gap {
		p.gap = true
		p.omitted.bytes += j.omitted.bytes
		p.omitted.lines += j.omitted.lines
	} else {
		p.omitted = amount{}
	}
	j.gap, j.omitted = false, amount{}
	return p
}

// cutEnd removes the end of the log that repeats the text end of the last
// segment. It reports whether output may be missing between the rest of the log
// and the segment.
func (j *joiner) cutEnd(end []byte) (gap bool) {
	common := commonSuffix(j.text, end)
	switch {
	case common == len(end):
		j.text = j.text[:len(j.text)-common]
		return false
	case common == len(j.text): // the log begins within the segment
		j.text = nil
		return true
	}
	// The log has a gap within the segment. Only whole lines are common text.
	start := len(j.text) - common
	if i := bytes.IndexByte(j.text[start:], '\n'); j.text[start-1] != '\n' && i >= 0 {
		start += i + 1
	}
	j.text = j.text[:start]
	overlap := overlapOf(j.text, end)
	j.text = j.text[:len(j.text)-overlap]
	return overlap < minOverlap
}

// place removes the beginning of the log that repeats the output shown. It
// first emits the earlier segments that end before the log begins. It returns
// the earlier segments that were not emitted.
func (j *joiner) place(shown *tail, earlier []segment, log logText) []segment {
	before, long := shown.text, shown.cut || log.earlier
	for {
		at, certain := endIn(j.text, before, long)
		if log.fromStart && !shown.cut && bytes.HasPrefix(j.text, before) {
			at, certain = len(before), true
		}
		if certain || len(earlier) == 0 || len(earlier[0].text) > 0 && bytes.Contains(j.text, earlier[0].text) {
			if !certain {
				j.gap, j.omitted = true, log.omitted
			}
			if !certain && !j.complete { // the log was cut off, and the position of its text is not known
				at = len(j.text)
			}
			j.text = j.text[at:]
			return earlier
		}
		if s := earlier[0]; len(s.text) > 0 {
			j.gap = true
			j.emit(piece{text: s.text, raw: s.raw, omitted: s.omitted})
			before, long = s.text, false
		}
		earlier = earlier[1:]
	}
}

// emitEarlier emits the log before an earlier segment, and the segment. later
// are the earlier segments that follow.
func (j *joiner) emitEarlier(s segment, later []segment) {
	if len(s.text) == 0 {
		return
	}
	before, inLog := j.text, false // the log before the later segments
	for _, l := range later {
		if i := bytes.Index(j.text, l.text); len(l.text) >= minOverlap && i >= 0 {
			before, inLog = j.text[:i], true
			break
		}
	}
	if at := bytes.Index(before, s.text); at >= 0 {
		at += len(s.text)
		j.emit(piece{text: j.text[:at]})
		j.text = j.text[at:]
		return
	}
	whole := piece{text: s.text, raw: s.raw, omitted: s.omitted}
	if j.complete || inLog { // the log has a gap within the segment, or begins in it
		j.gap = true
		j.emit(whole)
		repeated := overlapOf(s.text, j.text)
		j.text, j.gap = j.text[repeated:], repeated < minOverlap
		return
	}
	overlap := overlapOf(j.text, s.text)
	j.emit(piece{text: j.text[:len(j.text)-overlap]})
	j.gap = j.gap || overlap < minOverlap
	j.emit(whole)
	j.text, j.gap = nil, true
}

// endIn returns the position in log at which the text shown ends. The log
// begins within shown or, if long is set, possibly before shown. certain is
// false if the two have less than minOverlap bytes in common.
func endIn(log, shown []byte, long bool) (at int, certain bool) {
	if long && len(shown) >= minOverlap {
		if i := bytes.LastIndex(log, shown); i >= 0 {
			return i + len(shown), true
		}
	}
	at = overlapOf(shown, log)
	return at, at >= minOverlap
}

// commonSuffix returns the number of equal bytes at the ends of a and b.
func commonSuffix(a, b []byte) (n int) {
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

// overlapOf returns the length of the longest text that is both the end of a
// and the beginning of b. It needs time proportional to the length of the
// shorter text (the algorithm of Knuth, Morris and Pratt).
func overlapOf(a, b []byte) int {
	most := min(len(a), len(b))
	a, b = a[len(a)-most:], b[:most]
	next := make([]int32, most+1) // next[n] is the longest proper overlap of b[:n] with itself
	length := int32(0)
	for i := 1; i < most; i++ {
		for length > 0 && b[i] != b[length] {
			length = next[length]
		}
		if b[i] == b[length] {
			length++
		}
		next[i+1] = length
	}
	length = 0
	for _, c := range a {
		if int(length) == most {
			length = next[length]
		}
		for length > 0 && c != b[length] {
			length = next[length]
		}
		if most > 0 && c == b[length] {
			length++
		}
	}
	return int(length)
}
