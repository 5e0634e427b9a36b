package node

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// A mark is text in the output of a shell by which Replay finds a position in
// the container's log. A mark is an application program command (ECMA-48),
// which terminals ignore. It ends with a line end, so that the log includes it
// at once.
const (
	markStart = "\x1b_kshell "
	markEnd   = "\x1b\\"
)

// maxMark is the largest size of the text between markStart and markEnd, in
// bytes. Anything longer is not a mark.
const maxMark = 128

// mark is a mark in the output of a shell.
type mark struct {
	id   string
	at   time.Time // by the node's clock, to the second
	text []byte    // the complete mark with its line end
}

// matches reports whether the mark's ID is id, or id with a suffix after a
// dash.
func (m *mark) matches(id string) bool {
	return m.id == id || strings.HasPrefix(m.id, id+"-")
}

// follows reports whether the mark was printed by a later attempt than the mark
// with this ID. The IDs of the attempts differ only in the number after the
// dash.
func (m *mark) follows(id string) bool {
	own, ownSuffix, _ := strings.Cut(m.id, "-")
	base, suffix, _ := strings.Cut(id, "-")
	n, err := strconv.Atoi(ownSuffix)
	other, otherErr := strconv.Atoi(suffix)
	return own == base && err == nil && otherErr == nil && n > other
}

// cutMark cuts p at the first mark into the text before the mark, the mark and
// the rest. If there is no mark, rest is empty. If complete is false, rest may
// be the beginning of a mark, and more input is needed.
func cutMark(p []byte) (text []byte, m *mark, rest []byte, complete bool) {
	from := 0
	for {
		i := bytes.IndexByte(p[from:], markStart[0])
		if i < 0 {
			return p, nil, nil, true
		}
		i += from
		m, ok := parseMark(p[i:])
		switch {
		case m != nil:
			return p[:i], m, p[i+len(m.text):], true
		case !ok:
			return p[:i], nil, p[i:], false
		}
		from = i + 1
	}
}

// parseMark parses a mark at the beginning of p. It returns nil and true if p
// does not begin with a mark, whatever follows p. It returns nil and false if
// that depends on what follows p.
func parseMark(p []byte) (m *mark, ok bool) {
	if len(p) < len(markStart) {
		return nil, !strings.HasPrefix(markStart, string(p))
	}
	content, found := bytes.CutPrefix(p, []byte(markStart))
	if !found {
		return nil, true
	}
	end := bytes.Index(content, []byte(markEnd))
	if end < 0 || end > maxMark {
		return nil, len(content) >= maxMark+len(markEnd)
	}
	size := len(markStart) + end + len(markEnd)
	switch lineEnd := p[size:]; {
	case bytes.HasPrefix(lineEnd, []byte("\n")):
		size++
	case bytes.HasPrefix(lineEnd, []byte("\r\n")):
		size += 2
	default:
		return nil, len(lineEnd) > 1 || len(lineEnd) == 1 && lineEnd[0] != '\r'
	}
	id, seconds, _ := strings.Cut(string(content[:end]), " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, true
	}
	return &mark{id, time.Unix(n, 0), p[:size]}, true
}

// crStripper removes CRs before an LF. The zero value is ready to use.
type crStripper struct{ held int } // the number of CRs at the end of the input so far; an LF may follow

// strip appends p, without CRs before an LF, to dst. CRs at the end of p are
// held until the next call.
func (s *crStripper) strip(dst, p []byte) []byte {
	for _, b := range p {
		switch b {
		case '\r':
			s.held++
			continue
		case '\n':
			s.held = 0
		}
		dst = append(s.flush(dst), b)
	}
	return dst
}

// flush appends the held CRs to dst. It is called when no LF follows them.
func (s *crStripper) flush(dst []byte) []byte {
	for ; s.held > 0; s.held-- {
		dst = append(dst, '\r')
	}
	return dst
}
