package terminal

import (
	"bytes"
	"io"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// The sequences that show and remove a status. Together they leave the cursor,
// the colors and the program's output unchanged.
//
// Normally, the status is shown in a line that is inserted below the cursor,
// and deleted later. A line feed first ensures that there is a line below the
// cursor: if the cursor is in the last line of the screen, the line feed
// scrolls the screen. A line feed does not change the column. The inserted line
// pushes the last line off the screen. That last line is empty, unless a
// program fills the whole screen without the alternate screen.
//
// Over a full-screen program, the status overwrites the last line, which the
// program draws again later.
const (
	makeRoomBelow  = "\n\x1b[A"
	saveMoveBelow  = ansi.SaveCursor + "\r\n"
	saveMoveToLast = ansi.SaveCursor + "\x1b[999;1H"
	insertLine     = "\x1b[L"
	deleteLine     = "\x1b[M"
	beforeText     = "\x1b[0;7m " // reverse video
	afterText      = " " + ansi.ResetStyle
)

// ellipsis is the end of a status that is too long.
const ellipsis = "..."

// The width of a status, in columns.
const (
	minColumns   = 20 // of the terminal; in a narrower one, no status is shown
	extraColumns = 3  // for the spaces around the text and one free column
)

// EnableStatus makes SetStatus show a status line, which is written to w. w
// must lead to the terminal of the Screen. width returns the number of columns
// of the terminal, or 0 if it is unknown; then 80 columns are assumed. redraw
// is called when a status that was shown over a full-screen program has been
// removed, because only the program can restore the line that the status has
// overwritten. width and redraw must not block or call the Screen.
func (s *Screen) EnableStatus(w io.Writer, width func() int, redraw func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statusWriter, s.width, s.redraw = w, width, redraw
}

// HasStatus reports whether EnableStatus was called.
func (s *Screen) HasStatus() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statusWriter != nil
}

// SetStatus shows text as a status line and reports whether it is shown. If text is
// too long for the terminal, the first of the texts in shorter that fits is shown,
// or else the beginning of the last one. The texts must consist of printable
// characters. The status remains until the next Write, BetweenLines or Reset, or
// until SetStatus is called with another text. An empty text removes the status.
//
// The status is not shown where it could damage the program's output: within an
// escape sequence or a character, while the program has saved the cursor, after
// a line that exactly fills the width of the terminal, and in a terminal of
// less than 20 columns.
func (s *Screen) SetStatus(text string, shorter ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == "" {
		s.hideStatus()
		return true
	}
	if s.statusWriter == nil {
		return false
	}
	columns := s.columns()
	if columns < minColumns || !s.canInterrupt(columns) {
		return false
	}
	var position string
	switch {
	case s.fullScreen():
		position = saveMoveToLast + ansi.EraseEntireLine
	case s.statusShown:
		position = saveMoveBelow + ansi.EraseEntireLine
	default:
		position = makeRoomBelow + saveMoveBelow + insertLine
	}
	s.statusShown, s.statusOver = true, s.fullScreen()
	for len(shorter) > 0 && utf8.RuneCountInString(text) > columns-extraColumns {
		text, shorter = shorter[0], shorter[1:]
	}
	text = truncate(text, columns-extraColumns)
	s.writeStatus(position + beforeText + text + afterText + ansi.RestoreCursor)
	return true
}

// canInterrupt reports whether a status can be shown after the last output.
func (s *Screen) canInterrupt(columns int) bool {
	return s.inText() && !s.cursorSaved && !endsWithinRune(s.line) && !fillsWidth(s.line, columns)
}

// writeStatus writes to statusWriter. It ignores errors, because the session
// does not depend on the status.
func (s *Screen) writeStatus(sequences string) {
	_, _ = io.WriteString(s.statusWriter, sequences)
}

// hideStatus removes the status.
func (s *Screen) hideStatus() {
	if !s.statusShown {
		return
	}
	s.statusShown = false
	if !s.statusOver {
		s.writeStatus(saveMoveBelow + deleteLine + ansi.RestoreCursor)
		return
	}
	s.writeStatus(saveMoveToLast + ansi.EraseEntireLine + ansi.RestoreCursor)
	s.redraw()
}

// columns returns the width of the terminal.
func (s *Screen) columns() int {
	if n := s.width(); n > 0 {
		return n
	}
	return 80
}

// endsWithinRune reports whether the last character of the line is incomplete.
func endsWithinRune(line []byte) bool {
	for i := len(line) - 1; i >= max(0, len(line)-utf8.UTFMax); i-- {
		if utf8.RuneStart(line[i]) {
			return !utf8.FullRune(line[i:])
		}
	}
	return false
}

// fillsWidth reports whether the line ends exactly in the last column. A
// terminal then moves the cursor to the next line only when the next character
// is written, and it forgets to do so if a status has moved the cursor in
// between. If the column is not known, because the line moves the cursor or is
// too long, fillsWidth returns false. That is correct for a line that a line
// editor has written, because line editors do not leave the cursor after the
// last column.
func fillsWidth(line []byte, columns int) bool {
	if len(line) == maxLine {
		return false
	}
	type cursor struct {
		column int
		wrap   bool // the next character is written to the next line
	}
	var current, saved cursor
	known := true
	for state := byte(0); len(line) > 0; {
		token, width, n, next := ansi.DecodeSequence(line, state, nil)
		line, state = line[n:], next
		switch {
		case width > 0 && (current.wrap || current.column+width > columns):
			current = cursor{column: width}
		case width > 0:
			current.column += width
			current.wrap = current.column == columns
		case string(token) == "\b" && current.wrap: // the cursor is on the last character
			current = cursor{column: columns - 2}
		case string(token) == "\b":
			current.column = max(0, current.column-1)
		case string(token) == "\t":
			current = cursor{column: min(current.column/8*8+8, columns-1)}
		case string(token) == ansi.SaveCursor:
			saved = current
		case string(token) == ansi.RestoreCursor:
			current, known = saved, true
		case ansi.HasCsiPrefix(token) && !bytes.ContainsAny(token[len(token)-1:], "@JKPXhlm"):
			known = false
		}
	}
	return known && current.wrap
}

// truncate shortens text to at most columns characters. It does not use
// [ansi.Truncate], which adds 8 kB to the binary because it handles wide
// characters and escape sequences: a status contains neither. The ellipsis is
// ASCII, because the locale may have no other characters.
func truncate(text string, columns int) string {
	r := []rune(text)
	if len(r) <= columns {
		return text
	}
	return string(r[:max(0, columns-len(ellipsis))]) + ellipsis
}
