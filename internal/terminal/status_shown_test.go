package terminal

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestSetStatus_Shown checks after which output of a program a status is shown.
// The terminal has 40 columns.
func TestSetStatus_Shown(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct {
		name, written string
		want          bool
	}{
		{"after a title", "\x1b]0;title\x07", true},
		{"after a title that ESC \\ ends", "\x1b]0;title\x1b\\", true},
		{"after a canceled title", "\x1b]0;title\x18", true},
		{"after a substituted title", "\x1b]0;title\x1a", true},
		{"inside a title with a byte of ST", "\x1b]0;\u00dc", false},
		{"inside an application string with UTF-8", "\x1b_\u00fc", false},
		{"after an application string that BEL ends", "\x1b_x\a", true},
		{"control character inside a sequence of ESC", "\x1b \a0", true},
		{"BEL inside a sequence", "\x1b[3\x07", false},
		{"line feed inside a sequence", "\x1b[3\n", false},
		{"after a character set", "\x1b(0", true},
		{"after ESC and a space", "\x1b ", false},
		{"after a sequence with a space", "\x1b F", true},
		{"after a sequence that 0 ends", "\x1b0", true},
		{"after inserted characters", "\x1b[3@", true},
		{"after the cursor was saved and restored", "\x1b7\x1b8", true},
		{"after the cursor was saved and restored, CSI", "\x1b[s\x1b[u", true},
		{"after the cursor was saved, and a reset", "\x1b7\x1bc", true},
		{"after the margins were set", "\x1b[1s", true},
		{"after private modes were saved", "\x1b[?s", true},
		{"after another sequence that s ends", "\x1b[ s", true},

		{"inside a character of 4 bytes", "\xf0\x9f\x98", false},
		{"after a character of 4 bytes", "\xf0\x9f\x98\x80", true},
		{"before the last column", x(39), true},
		{"after the last column", x(40), false},
		{"in the next line", x(41), true},
		{"a wide character in the last columns", x(38) + "漢", false},
		{"a wide character in the next line", x(39) + "漢", true},
		{"a wide character and a full line", x(39) + "漢" + x(38), false},
		{"backspace from the last column", x(40) + "\b", true},
		{"backspace and one character", x(40) + "\by", true},
		{"backspace and two characters", x(40) + "\byz", false},
		{"backspace before the last column", x(39) + "\byy", false},
		{"backspace in the first column", "\b" + x(40), false},
		{"a tab in the first stop", "x\t" + x(32), false},
		{"a tab in the second stop", x(9) + "\t" + x(24), false},
		{"a tab at a stop", x(8) + "\t" + x(24), false},
		{"a tab in the last column", x(39) + "\tx", false},
		{"a color after the last column", x(40) + "\x1b[m", false},
		{"a move after the last column", x(40) + "\x1b[A", true},
		{"a move and back to the last column", x(40) + "\x1b7\x1b[A\x1b8", false},
		{"a carriage return", x(40) + "\r", true},
	} {
		s := newScreenWithStatus(io.Discard, io.Discard, wide)
		_, _ = io.WriteString(s, tt.written)
		if got := s.SetStatus("no reply"); got != tt.want {
			t.Errorf("%s: shown = %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestSetStatus_Width(t *testing.T) {
	for _, tt := range []struct {
		name, written string
		columns       int
		text, shown   string
	}{
		{"narrowest", "", 20, "no reply", "no reply"},
		{"longest text", "", 40, strings.Repeat("a", 37), strings.Repeat("a", 37)},
		{"longer text", "", 40, strings.Repeat("a", 38), strings.Repeat("a", 34) + "..."},
		{"unknown", strings.Repeat("x", 79), 0, "no reply", "no reply"},
		{"unknown, full line", strings.Repeat("x", 80), 0, "no reply", ""},
	} {
		var over bytes.Buffer
		s := newScreenWithStatus(io.Discard, &over, tt.columns)
		_, _ = io.WriteString(s, tt.written)
		if got := s.SetStatus(tt.text); got != (tt.shown != "") {
			t.Errorf("%s: shown = %t", tt.name, got)
		}
		_, words, _ := strings.Cut(over.String(), "\x1b[0;7m ")
		if got, _, _ := strings.Cut(words, " \x1b[m"); got != tt.shown {
			t.Errorf("%s: %q is shown, want %q", tt.name, got, tt.shown)
		}
	}
}
