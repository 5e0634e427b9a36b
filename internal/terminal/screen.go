package terminal

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"sync"
)

// Screen is an output that knows what a program has switched on in the terminal, so that it can be switched off when the program
// cannot do it any more. It passes everything on unchanged.
type Screen struct {
	io.Writer

	mu      sync.Mutex
	on      []int // private modes that are not as a shell has them, in the order of switching
	state   int
	number  []byte
	midLine bool
}

// shellModes are the private modes (DECSET) that are followed, and whether a shell has them on: application cursor keys, the cursor, the
// mouse (three kinds, and three encodings), the alternate screen (three ways), bracketed paste.
var shellModes = map[int]bool{
	1: false, 25: true, 1000: false, 1002: false, 1003: false, 1004: false, 1005: false, 1006: false, 1015: false,
	47: false, 1047: false, 1049: false, 2004: false,
}

// alternate are the modes that show the alternate screen.
var alternate = []int{47, 1047, 1049}

// Write implements io.Writer.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.follow(p)
	s.mu.Unlock()
	return s.Writer.Write(p)
}

// The states of a control sequence: ESC [ ? numbers, and h or l.
const (
	stText = iota
	stEscape
	stBracket
	stNumber
)

// maxNumber bounds a sequence's numbers, in bytes: a longer one is none that is followed.
const maxNumber = 64

func (s *Screen) follow(p []byte) {
	if len(p) == 0 {
		return
	}
	s.midLine = p[len(p)-1] != '\n'
	for len(p) > 0 {
		if s.state == stText {
			i := bytes.IndexByte(p, 0x1b)
			if i < 0 {
				return
			}
			p = p[i:]
		}
		s.step(p[0])
		p = p[1:]
	}
}

func (s *Screen) step(c byte) {
	switch {
	case c == 0x1b:
		s.state = stEscape
	case s.state == stEscape && c == '[':
		s.state = stBracket
	case s.state == stEscape && c == 'c': // a full reset
		s.on, s.state = nil, stText
	case s.state == stBracket && c == '?':
		s.state, s.number = stNumber, s.number[:0]
	case s.state == stNumber && (c >= '0' && c <= '9' || c == ';') && len(s.number) < maxNumber:
		s.number = append(s.number, c)
	case s.state == stNumber && (c == 'h' || c == 'l'):
		s.set(c == 'h')
		s.state = stText
	default:
		s.state = stText
	}
}

func (s *Screen) set(on bool) {
	for part := range bytes.SplitSeq(s.number, []byte{';'}) {
		mode, err := strconv.Atoi(string(part))
		normal, known := shellModes[mode]
		if err != nil || !known {
			continue
		}
		s.on = slices.DeleteFunc(s.on, func(m int) bool { return m == mode })
		if on != normal {
			s.on = append(s.on, mode)
		}
	}
}

// EndLine says whether the last line has not ended, and takes it for ended: the caller ends it.
func (s *Screen) EndLine() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	midLine := s.midLine
	s.midLine = false
	return midLine
}

// FullScreen says whether the alternate screen is shown: what is written between would be in the midst of an editor.
func (s *Screen) FullScreen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.on, func(m int) bool { return slices.Contains(alternate, m) })
}

// Reset gives what has to be written to the terminal to have it as a shell has it, and takes it for written; empty if it is. Colours are
// always reset behind a program that changed anything.
func (s *Screen) Reset() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.on) == 0 {
		return nil
	}
	var b []byte
	for _, mode := range slices.Backward(s.on) {
		b = append(b, "\x1b[?"...)
		b = strconv.AppendInt(b, int64(mode), 10)
		if shellModes[mode] {
			b = append(b, 'h')
		} else {
			b = append(b, 'l')
		}
	}
	s.on, s.state = nil, stText
	return append(b, "\x1b[m"...)
}
