package picker

import (
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// press handles a key, given as the bytes that the terminal sends for it. It
// reports whether the list is to be closed.
func (v *view) press(key string) (closed bool) {
	switch key {
	case "\x1b", "\x03", "\x04": // Esc, Ctrl-C, Ctrl-D
		v.canceled = true
		return true
	case "\r", "\n":
		return len(v.matches) > 0
	case "\x1b[A", "\x1bOA", "\x10", "\x1b[Z": // up, Ctrl-P, Shift-Tab
		v.move(-1)
	case "\x1b[B", "\x1bOB", "\x0e", "\t": // down, Ctrl-N, Tab
		v.move(1)
	case "\x1b[5~":
		v.move(-v.page())
	case "\x1b[6~":
		v.move(v.page())
	case "\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~": // Home
		v.move(-len(v.Rows))
	case "\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~": // End
		v.move(len(v.Rows))
	case "\x7f", "\b":
		v.setQuery(v.query[:max(0, len(v.query)-1)])
	case "\x15", "\x17": // Ctrl-U, Ctrl-W
		v.setQuery(nil)
	default:
		if r, _ := utf8.DecodeRuneInString(key); r != utf8.RuneError && !unicode.IsControl(r) {
			v.setQuery(append(v.query, []rune(key)...))
		}
	}
	return false
}

// keyLength returns the number of bytes of the first key in input: a character
// or an escape sequence. It is 0 if the key may be incomplete.
func keyLength(input []byte) int {
	if !utf8.FullRune(input) {
		return 0
	}
	if len(input) > 1 && input[0] == ansi.ESC && input[1] == 'O' { // SS3
		if len(input) == 2 {
			return 0
		}
		return 3
	}
	_, _, n, state := ansi.DecodeSequence(input, ansi.NormalState, nil)
	if state != ansi.NormalState {
		return 0
	}
	return n
}
