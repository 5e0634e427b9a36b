package terminal

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"sync"
)

// Screen is an output that knows what a program has switched on in the terminal, so that it can be switched off when the program
// cannot do it any more. It passes everything on unchanged. Over it a line of status can be shown: see SetStatus.
type Screen struct {
	io.Writer

	// Over takes the line of status; nil: there is none. It has to lead to the same terminal.
	Over io.Writer
	// Columns is the terminal's width; nil or 0: unknown, taken for 80.
	Columns func() int
	// Redraw is called when a status was shown over a program that fills the screen, and is gone: only the program knows what stood there. It
	// must neither block nor call the Screen.
	Redraw func()

	mu      sync.Mutex
	on      []int // private modes that are not as a shell has them, in the order of switching
	state   int
	private bool // the sequence is one of DEC's
	strange bool // it is not one that is followed
	number  []byte
	midLine bool
	saved   bool   // the program has saved the cursor and not restored it
	line    []byte // what was written since the last CR, at most longestLine

	status bool // is shown
	above  bool // over a program that fills the screen
}

// shellModes are the private modes (DECSET) that are followed, and whether a shell has them on: application cursor keys, the cursor, the
// mouse (three kinds, and three encodings), the alternate screen (three ways), bracketed paste.
var shellModes = map[int]bool{
	1: false, 25: true, 1000: false, 1002: false, 1003: false, 1004: false, 1005: false, 1006: false, 1015: false,
	47: false, 1047: false, 1049: false, 2004: false,
}

// alternate are the modes that show the alternate screen.
var alternate = []int{47, 1047, 1049}

// Write implements io.Writer. The status is gone before anything is written.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) > 0 {
		s.hide()
		s.follow(p)
	}
	return s.Writer.Write(p)
}

// The states of a control sequence (ECMA-48): ESC and a character, perhaps with others between; ESC [ numbers and a character; a string, such
// as a title, up to BEL or ESC \.
const (
	stText = iota
	stEscape
	stBetween
	stSequence
	stString
)

// maxNumber bounds a sequence's numbers, in bytes: a longer one is none that is followed.
const maxNumber = 64

const (
	bel = 0x07
	can = 0x18
	sub = 0x1a
	esc = 0x1b
	del = 0x7f
)

func (s *Screen) follow(p []byte) {
	s.midLine = p[len(p)-1] != '\n'
	s.keep(p)
	for len(p) > 0 {
		if s.state == stText {
			i := bytes.IndexByte(p, esc)
			if i < 0 {
				return
			}
			p = p[i:]
		}
		s.step(p[0])
		p = p[1:]
	}
}

// longestLine is how much of a line is kept, in bytes: with more, nothing is known of where the cursor is.
const longestLine = 4 << 10

// keep keeps the line that the cursor is in.
func (s *Screen) keep(p []byte) {
	if i := bytes.LastIndexByte(p, '\r'); i >= 0 {
		s.line, p = s.line[:0], p[i+1:]
	}
	s.line = append(s.line, p[max(0, len(p)-longestLine):]...)
	s.line = s.line[max(0, len(s.line)-longestLine):]
}

func (s *Screen) step(c byte) {
	switch {
	case c == esc:
		s.state = stEscape
	case c == can || c == sub || s.state == stString && c == bel:
		s.state = stText
	case s.state == stEscape:
		s.escape(c)
	case s.state == stBetween && c >= '0':
		s.state = stText
	case s.state == stSequence:
		s.sequence(c)
	}
}

// escape takes the character behind ESC.
func (s *Screen) escape(c byte) {
	s.state = stText
	switch {
	case c == '[':
		s.state, s.private, s.strange, s.number = stSequence, false, false, s.number[:0]
	case bytes.IndexByte([]byte("]PX^_"), c) >= 0:
		s.state = stString
	case c >= ' ' && c < '0':
		s.state = stBetween
	case c == '7', c == '8':
		s.saved = c == '7'
	case c == 'c': // a full reset
		s.on, s.saved = nil, false
	}
}

// sequence takes a character behind ESC [.
func (s *Screen) sequence(c byte) {
	switch {
	case c == '?' && len(s.number) == 0 && !s.strange:
		s.private = true
	case (c >= '0' && c <= '9' || c == ';') && len(s.number) < maxNumber:
		s.number = append(s.number, c)
	case c < ' ': // is carried out in between
	case c < '@':
		s.strange = true
	default:
		s.state = stText
		switch {
		case s.strange:
		case s.private && (c == 'h' || c == 'l'):
			s.set(c == 'h')
		case !s.private && len(s.number) == 0 && (c == 's' || c == 'u'):
			s.saved = c == 's'
		}
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

// EndLine says whether the last line has not ended, and takes it for ended: the caller ends it, and writes lines of its own. The status is gone.
func (s *Screen) EndLine() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hide()
	midLine := s.midLine
	s.midLine, s.line = false, s.line[:0]
	return midLine
}

// FullScreen says whether the alternate screen is shown: what is written between would be in the midst of an editor.
func (s *Screen) FullScreen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fullScreen()
}

func (s *Screen) fullScreen() bool {
	return slices.ContainsFunc(s.on, func(m int) bool { return slices.Contains(alternate, m) })
}

// Reset gives what has to be written to the terminal to have it as a shell has it, and takes it for written; empty if it is. Colours are
// always reset behind a program that changed anything.
func (s *Screen) Reset() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hide()
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
	s.on, s.state, s.saved = nil, stText, false
	return append(b, "\x1b[m"...)
}
