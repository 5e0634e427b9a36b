package terminal

import "github.com/charmbracelet/x/ansi"

// inputClass is the kind of input that a byte belongs to.
type inputClass int

const (
	// classKey is a key that sends one byte, or a byte of a character of
	// several bytes.
	classKey inputClass = iota
	// classPartial is a byte of an escape sequence that has not ended.
	classPartial
	// classRestart is an ESC that begins a sequence inside an unfinished one.
	// The bytes before the ESC were typed.
	classRestart
	// classSequence is the last byte of a sequence that a key sends, such as a
	// cursor key, or Alt and a key.
	classSequence
	// classReport is the last byte of a sequence that the terminal itself
	// sends: the answer to a query, a change of focus, a mouse event.
	classReport
	// classPaste is a byte of a bracketed paste, or the last byte of the
	// sequence that begins it.
	classPaste
)

// inputParser classifies the input from a terminal byte by byte, so that the
// result does not depend on how the input is split over reads. The zero value
// is ready to use. A copy is independent, so that a caller can look ahead.
//
// It is not based on [ansi.Parser], because that parses output, and the syntax
// of input differs:
//   - A control character ends an unfinished sequence: the user has typed ESC
//     and, for example, P, which would otherwise begin a string. In output, a
//     control character within a sequence does not end the sequence.
//   - ESC and a space, for example, are complete: they are the space bar with
//     Alt. In output, they are an unfinished sequence.
//   - SS3, X10 mouse reports and bracketed pastes exist in input only.
type inputParser struct {
	state   inputState
	marker  byte // <, = or ? after ESC [
	params  bool // the sequence has parameters
	number  int  // the first parameter of the sequence
	more    bool // the sequence has more than one parameter
	left    int  // how many bytes of a mouse report are missing
	matched int  // how many bytes of pasteEnd were received
}

type inputState int

const (
	inText inputState = iota
	inEscape
	inSS3
	inCSI
	inString // OSC, DCS, APC, PM, SOS
	inStringEscape
	inMouse
	inPasteText
)

// pasteEnd is the sequence that ends a bracketed paste. pasteBegin and
// pasteStop are the parameters of the sequences that begin and end a bracketed
// paste.
const (
	pasteEnd   = "\x1b[201~"
	pasteBegin = 200
	pasteStop  = 201
)

// inPaste reports whether the next byte is inside a bracketed paste.
func (p *inputParser) inPaste() bool { return p.state == inPasteText }

// next returns the class of the next byte.
func (p *inputParser) next(c byte) inputClass {
	switch p.state {
	case inPasteText:
		return p.paste(c)
	case inMouse:
		p.left--
		return p.endIf(p.left == 0, classReport)
	}
	switch {
	case c == ansi.ESC && p.state == inText:
		p.state = inEscape
		return classPartial
	case c == ansi.ESC && (p.state == inString || p.state == inStringEscape):
		p.state = inStringEscape
		return classPartial
	case c == ansi.ESC:
		p.state = inEscape
		return classRestart
	case c == ansi.BEL && p.state == inString:
		return p.endIf(true, classReport)
	case c < ' ':
		return p.endIf(true, classKey)
	}
	switch p.state {
	case inEscape:
		return p.escape(c)
	case inSS3:
		return p.endIf(true, classSequence)
	case inCSI:
		return p.csi(c)
	case inString:
		return classPartial
	case inStringEscape:
		if c == '\\' {
			return p.endIf(true, classReport)
		}
		return p.escape(c)
	default:
		return classKey
	}
}

// endIf returns classPartial if end is false. Otherwise it leaves the sequence
// and returns class.
func (p *inputParser) endIf(end bool, class inputClass) inputClass {
	if !end {
		return classPartial
	}
	p.state = inText
	return class
}

// escape handles the byte after ESC.
func (p *inputParser) escape(c byte) inputClass {
	switch c {
	case '[':
		*p = inputParser{state: inCSI}
	case 'O':
		p.state = inSS3
	case 'P', 'X', ']', '^', '_':
		p.state = inString
	default:
		return p.endIf(true, classSequence)
	}
	return classPartial
}

// csi handles a byte after ESC [.
func (p *inputParser) csi(c byte) inputClass {
	switch {
	case c >= '0' && c <= '9' || c == ';' || c == ':':
		p.params = true
		p.more = p.more || c > '9'
		if !p.more && p.number <= pasteStop {
			p.number = 10*p.number + int(c-'0')
		}
		return classPartial
	case c >= '<' && c <= '?':
		p.marker = c
		return classPartial
	case c < '0':
		return classPartial
	case c > '~':
		return p.endIf(true, classKey)
	case c == 'M' && !p.params && p.marker == 0:
		p.state, p.left = inMouse, 3
		return classPartial
	case c == '~' && p.number == pasteBegin && !p.more:
		p.state, p.matched = inPasteText, 0
		return classPaste
	case p.isReport(c):
		return p.endIf(true, classReport)
	}
	return p.endIf(true, classSequence)
}

// isReport reports whether the terminal itself sends the CSI sequence that c
// ends: cursor position, status, attributes, window, modes, focus, mouse, the
// flags of the kitty keyboard protocol, or the end of a paste without its
// beginning. F3 with a modifier is also treated as a report, because its
// sequence is the same as that of a cursor position.
func (p *inputParser) isReport(c byte) bool {
	switch c {
	case 'R', 'n', 'c', 't', 'y':
		return p.params
	case 'I', 'O':
		return !p.params
	case 'M':
		return true
	case 'm':
		return p.marker == '<'
	case 'u':
		return p.marker == '?'
	case '~':
		return p.number == pasteStop && !p.more
	}
	return false
}

// paste handles a byte of a paste.
func (p *inputParser) paste(c byte) inputClass {
	switch c {
	case pasteEnd[p.matched]:
		p.matched++
	case ansi.ESC:
		p.matched = 1
	default:
		p.matched = 0
	}
	if p.matched == len(pasteEnd) {
		p.state = inText
	}
	return classPaste
}
