package fanout

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestVisible(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain text", "größer: 漢字 👩‍👧 |", "größer: 漢字 👩‍👧 |"},
		{"tab", "a\tb", "a\tb"},
		{"carriage return", "10%\rb: forged", "10%^Mb: forged"},
		{"CR LF", "a\r", "a"},
		{"two carriage returns before the line feed", "a\r\r", "a^M"},
		{"cursor up", "\x1b[1Ab: forged", "^[[1Ab: forged"},
		{"erase", "\x1b[2K\x1b[G", "^[[2K^[[G"},
		{"window title", "\x1b]0;x\x07", "^[]0;x^G"},
		{"C0 and DEL", "\x00\b\v\f\x7f", "^@^H^K^L^?"},
		{"C1 in UTF-8", "a\u009b1Ab\u0085c", `a\u009b1Ab\u0085c`},
		{"C1 as a byte", "a\x9b1A", `a\x9b1A`},
		{"Esc in overlong UTF-8", "\xc0\x9b[1A", `\xc0\x9b[1A`},
		{"text direction", "\u202eabc\u2066d\u200f", `\u202eabc\u2066d\u200f`},
		{"line separators", "a\u2028b\u2029c", `a\u2028b\u2029c`},
		{"color", "\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"},
		{"color that is not reset", "\x1b[1;38:5:208mred", "\x1b[1;38:5:208mred\x1b[0m"},
		{"color before CR LF", "\x1b[31mred\r", "\x1b[31mred\x1b[0m"},
		{"incomplete color", "a\x1b[31", "a^[[31"},
		{"private sequence with the same end", "\x1b[>4;1m", "^[[>4;1m"},
		{"sequence within a sequence", "\x1b[3\x1b[31mA", "^[[3\x1b[31mA\x1b[0m"},
	} {
		if got := string(visible(unchanged)(nil, []byte(tt.in), false)); got != tt.want+"\n" {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want+"\n")
		}
	}
}

func FuzzVisible(f *testing.F) {
	for _, seed := range []string{"a\rb", "\x1b[2J", "\x1b[31m", "\u009b", "\xc2", "\u202e", "\x1b[\x1b[m"} {
		f.Add(seed)
	}
	styles := regexp.MustCompile(`\x1b\[[0-9;:]*m`)
	f.Fuzz(func(t *testing.T, in string) {
		got := string(appendVisible(nil, []byte(in)))
		if !utf8.ValidString(got) {
			t.Errorf("%q is not valid UTF-8", got)
		}
		rest := strings.ReplaceAll(styles.ReplaceAllString(got, ""), "\t", "")
		unsafe := func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
		if strings.ContainsFunc(rest, unsafe) {
			t.Errorf("%q became %q", in, got)
		}
	})
}
