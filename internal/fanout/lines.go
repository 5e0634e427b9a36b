package fanout

import (
	"bytes"
	"io"
	"unicode/utf8"

	"kshell/internal/notice"
)

// maxLine is the maximum length of a line, in bytes. A longer line is split.
const maxLine = 64 << 10

// format appends a line to dst, formatted and with a line feed. open means that
// no line feed ended the line: it is the last one, or it was split here.
type format func(dst, line []byte, open bool) []byte

// lineWriter formats the lines that are written to it, and writes only whole
// lines to w. An unfinished line is buffered until it ends.
type lineWriter struct {
	w       io.Writer
	format  format
	partial []byte // the unfinished line, at most maxLine
	ready   []byte // formatted lines that are not written yet
}

func newLineWriter(w io.Writer, f format) *lineWriter { return &lineWriter{w: w, format: f} }

// Write implements io.Writer. Its errors are those of l.w.
func (l *lineWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		rest = l.addLine(rest)
		if len(l.ready) < maxLine {
			continue
		}
		if err := l.flush(); err != nil {
			return 0, err
		}
	}
	if err := l.flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// addLine adds the first line of p, or all of p if the line does not end in p,
// and returns the rest. It splits a line that is longer than maxLine.
func (l *lineWriter) addLine(p []byte) (rest []byte) {
	room := maxLine - len(l.partial)
	end := bytes.IndexByte(p[:min(len(p), room+1)], '\n')
	switch {
	case end >= 0 && len(l.partial) == 0:
		l.ready = l.format(l.ready, p[:end], false)
		return p[end+1:]
	case end >= 0:
		l.partial = append(l.partial, p[:end]...)
		l.ready = l.format(l.ready, l.partial, false)
		l.partial = l.partial[:0]
		return p[end+1:]
	case len(p) <= room:
		l.partial = append(l.partial, p...)
		return nil
	}
	l.partial = append(l.partial, p[:room]...)
	cut := len(l.partial) - incompleteRune(l.partial)
	l.ready = l.format(l.ready, l.partial[:cut], true)
	l.partial = append(l.partial[:0], l.partial[cut:]...)
	return p[room:]
}

// incompleteRune returns how many bytes at the end of p are the beginning of a
// UTF-8 character.
func incompleteRune(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// flush writes the lines that are ready.
func (l *lineWriter) flush() error {
	if len(l.ready) == 0 {
		return nil
	}
	_, err := l.w.Write(l.ready)
	l.ready = l.ready[:0]
	return err
}

// finish writes the last line, if no line feed ended it. It ignores write
// errors, because output.Err returns them.
func (l *lineWriter) finish() {
	if len(l.partial) > 0 {
		l.ready = l.format(l.ready, l.partial, true)
		l.partial = nil
	}
	_ = l.flush()
}

// prefixed returns a format that puts title before each line, in the i-th
// color.
func prefixed(title string, i int, color bool) format {
	prefix := title + ": "
	if color {
		prefix = notice.Color(i, title+":") + " "
	}
	return func(dst, line []byte, _ bool) []byte {
		dst = append(dst, prefix...)
		dst = append(dst, line...)
		return append(dst, '\n')
	}
}
