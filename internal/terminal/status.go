package terminal

import (
	"bytes"
	"io"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// What is written to show a status, and to take it away. None of it moves the cursor in the end.
//
// Below the cursor's line a line is inserted, and deleted again. That there is one below is seen to first: a line feed scrolls where the cursor is in the
// last line, and keeps the column. What is lost is an empty line, unless the program fills the whole screen without saying so.
//
// Over a program that has said so, the last line is written over, and the program draws it anew.
const (
	room   = "\n\x1b[A"         // a line below
	below  = "\x1b7\r\n"        // there; the cursor and the colours are remembered
	insert = "\x1b[L"           // a line
	remove = "\x1b[M"           // the line
	atEnd  = "\x1b7\x1b[999;1H" // in the last line
	wipe   = "\x1b[2K"          // what stands in it
	words  = "\x1b[0;7m "       // behind it
	endOf  = " \x1b[m"          // the words
	goBack = "\x1b8"            // to the cursor
)

// narrow is the least width at which a status is of use, and frame what is not text of it, in columns.
const (
	narrow = 20
	frame  = 3
)

// SetStatus shows a line of status until it is taken away by an empty text, by anything else that is written, or by Reset and EndLine.
// A text that is shown is replaced. The text must be of printable characters, one column each.
//
// It says whether the text is shown. It is not where that could spoil what the program has written: in the middle of a control sequence or a
// character, between the program's own saving and restoring of the cursor, behind a line that just fills the width, and in a terminal of less than 20 columns.
func (s *Screen) SetStatus(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == "" {
		s.hide()
		return true
	}
	columns := s.columns()
	if s.Over == nil || columns < narrow || s.state != stText || s.saved || cutOff(s.line) || fills(s.line, columns) {
		return false
	}
	var place string
	switch above := s.fullScreen(); {
	case above:
		place = atEnd + wipe
	case s.status:
		place = below + wipe
	default:
		place = room + below + insert
	}
	s.status, s.above = true, s.fullScreen()
	_, _ = io.WriteString(s.Over, place+words+fit(text, columns-frame)+endOf+goBack) // who cannot see it misses nothing
	return true
}

// hide takes the status away.
func (s *Screen) hide() {
	if !s.status {
		return
	}
	s.status = false
	if !s.above {
		_, _ = io.WriteString(s.Over, below+remove+goBack) // as above
		return
	}
	_, _ = io.WriteString(s.Over, atEnd+wipe+goBack)
	if s.Redraw != nil {
		s.Redraw()
	}
}

func (s *Screen) columns() int {
	if s.Columns != nil {
		if n := s.Columns(); n > 0 {
			return n
		}
	}
	return 80
}

// cutOff says whether the last character is not whole.
func cutOff(line []byte) bool {
	for i := len(line) - 1; i >= max(0, len(line)-utf8.UTFMax); i-- {
		if utf8.RuneStart(line[i]) {
			return !utf8.FullRune(line[i:])
		}
	}
	return false
}

// fills says whether line just fills the width: terminals go to the next line only with the next character, and forget about it when the cursor is
// moved. What is not known (the line moves the cursor about) is not so: an editor of lines does not leave the cursor there.
func fills(line []byte, columns int) bool {
	if len(line) == longestLine {
		return false
	}
	type cursor struct {
		column  int
		pending bool // behind the last column
	}
	var at, saved cursor
	known := true
	for state := byte(0); len(line) > 0; {
		token, width, n, next := ansi.DecodeSequence(line, state, nil)
		line, state = line[n:], next
		switch {
		case width > 0 && (at.pending || at.column+width > columns):
			at = cursor{column: width}
		case width > 0:
			at.column += width
			at.pending = at.column == columns
		case string(token) == "\b" && at.pending: // it stands on the last character
			at = cursor{column: columns - 2}
		case string(token) == "\b":
			at.column = max(0, at.column-1)
		case string(token) == "\t":
			at = cursor{column: min(at.column/8*8+8, columns-1)}
		case string(token) == "\x1b7":
			saved = at
		case string(token) == "\x1b8":
			at, known = saved, true
		case ansi.HasCsiPrefix(token) && !bytes.ContainsAny(token[len(token)-1:], "@JKPXhlm"):
			known = false
		}
	}
	return known && at.pending
}

// fit cuts text to so many characters.
func fit(text string, columns int) string {
	r := []rune(text)
	if len(r) <= columns {
		return text
	}
	return string(r[:max(0, columns-1)]) + "…"
}
