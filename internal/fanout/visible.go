package fanout

import (
	"bytes"
	"fmt"
	"regexp"
	"unicode"
	"unicode/utf8"
)

// sgr matches an SGR escape sequence, which sets the color or another style of
// the text. It does not match a sequence with a private marker. For example,
// CSI > 4 m changes how the terminal encodes keys.
var sgr = regexp.MustCompile(`^\x1b\[[0-9;:]*m`)

// resetStyle ends the style that earlier sequences have set.
const resetStyle = "\x1b[0m"

// visible returns a format that passes the visible form of each line to f. Such
// a line cannot move the cursor, and so cannot overwrite the title of another
// target. Control characters, characters that change the text direction, and
// bytes that are not UTF-8 become visible text, such as ^M for a carriage
// return and ^[ for Esc. Tabs and SGR sequences (colors) are unchanged, and a
// style ends with its line. A carriage return at the end of a line is removed.
func visible(f format) format {
	return func(dst, line []byte, open bool) []byte {
		return f(dst, appendVisible(nil, bytes.TrimSuffix(line, []byte("\r"))), open)
	}
}

// appendVisible appends the visible form of line to dst.
func appendVisible(dst, line []byte) []byte {
	styled := false
	for len(line) > 0 {
		if style := sgr.Find(line); style != nil {
			dst, line, styled = append(dst, style...), line[len(style):], true
			continue
		}
		r, n := utf8.DecodeRune(line)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = fmt.Appendf(dst, `\x%02x`, line[0])
		case r < ' ' && r != '\t' || r == 0x7f:
			dst = append(dst, '^', byte(r)^0x40)
		case unicode.IsControl(r) && r != '\t' || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp):
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = append(dst, line[:n]...)
		}
		line = line[n:]
	}
	if styled && !bytes.HasSuffix(dst, []byte(resetStyle)) {
		dst = append(dst, resetStyle...)
	}
	return dst
}

// unchanged is a format that adds only the line feed.
func unchanged(dst, line []byte, _ bool) []byte { return append(append(dst, line...), '\n') }
