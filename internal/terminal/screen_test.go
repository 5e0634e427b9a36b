package terminal

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestScreen_Reset(t *testing.T) {
	tests := []struct {
		name, written, reset string
		full                 bool
	}{
		{"text", "hello \x1b[31mred\x1b[m\r\n", "", false},
		{"vi", "\x1b[?1049h\x1b[?1h\x1b=\x1b[?2004h\x1b[?25l", "\x1b[?25h\x1b[?2004l\x1b[?1l\x1b[?1049l\x1b[m", true},
		{"vi that has ended", "\x1b[?1049h\x1b[?25l...\x1b[?25h\x1b[?1049l", "", false},
		{"several modes in a sequence", "\x1b[?1000;1006h", "\x1b[?1006l\x1b[?1000l\x1b[m", false},
		{"set twice", "\x1b[?25l\x1b[?25l", "\x1b[?25h\x1b[m", false},
		{"full reset", "\x1b[?1049h\x1bc", "", false},
		{"modes that are not tracked", "\x1b[?12h\x1b[4h\x1b[?7l\x1b]0;title\x07", "", false},
		{"unfinished sequence", "\x1b[?10", "", false},
		{"a sequence in a sequence", "\x1b[?\x1b[?1049h", "\x1b[?1049l\x1b[m", true},
		{"a line feed in a sequence", "\x1b[?\n25l", "\x1b[?25h\x1b[m", false},
		{"BEL in a sequence", "\x1b[?\a25l", "\x1b[?25h\x1b[m", false},
		{"UTF-8 in a title", "\x1b]0;\u00dc\x1b[?25l", "\x1b[?25h\x1b[m", false},
		{"UTF-8 in a string", "\x1b_\u00fc\x1b[?25l", "\x1b[?25h\x1b[m", false},
		{"a C1 control character is text", "\x9b?25l", "", false},
		{"a string in a string", "\x1bP\x1b[?25l", "\x1b[?25h\x1b[m", false},
		{"long parameter", "\x1b[?" + strings.Repeat("1", 1000) + "h", "", false},
	}
	for _, tt := range tests {
		for chunk := range len(tt.written) {
			var out bytes.Buffer
			s := NewScreen(&out)
			for rest := []byte(tt.written); len(rest) > 0; {
				n := min(chunk+1, len(rest))
				if _, err := s.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			full := s.FullScreen()
			if got := string(s.Reset()); got != tt.reset || full != tt.full || out.String() != tt.written {
				t.Errorf("%s, in writes of %d bytes: reset %q, full screen %t, output %q; want %q, %t",
					tt.name, chunk+1, got, full, out.String(), tt.reset, tt.full)
				break
			}
			if again := s.Reset(); again != nil {
				t.Errorf("%s: the second reset is %q, want none", tt.name, again)
			}
		}
	}
}

// A parameter may have many digits. Of a long list of parameters, only those at
// the beginning have an effect.
func TestScreen_LongParameters(t *testing.T) {
	const reset = "\x1b[?1049l\x1b[m"
	for name, tt := range map[string]struct{ params, reset string }{
		"leading zeros":    {strings.Repeat("0", 1000) + "1049", reset},
		"a number of 1 kB": {strings.Repeat("1", 1000), ""},
		"the last of 31":   {strings.Repeat("7;", 30) + "1049", reset},
		"the last of 100":  {strings.Repeat("7;", 99) + "1049", ""},
		"the first of 100": {"1049" + strings.Repeat(";7", 99), reset},
	} {
		s := NewScreen(io.Discard)
		_, _ = io.WriteString(s, "\x1b[?"+tt.params+"h")
		if got := string(s.Reset()); got != tt.reset {
			t.Errorf("%s: reset %q, want %q", name, got, tt.reset)
		}
	}
}

func TestScreen_BetweenLines(t *testing.T) {
	for _, tt := range []struct {
		written []string
		midLine bool
	}{{[]string{""}, false}, {[]string{"$ "}, true}, {[]string{"$ ", ""}, true}, {[]string{"$ ", "", "x\r\n"}, false}} {
		s := NewScreen(&bytes.Buffer{})
		for _, w := range tt.written {
			_, _ = s.Write([]byte(w))
		}
		s.BetweenLines(func(midLine bool) {
			if midLine != tt.midLine {
				t.Errorf("after %q: midLine %t", tt.written, midLine)
			}
			if s.mu.TryLock() {
				t.Error("output can be written while BetweenLines runs")
			}
		})
		s.BetweenLines(func(midLine bool) {
			if midLine {
				t.Errorf("after %q: midLine again", tt.written)
			}
		})
	}
}

func BenchmarkScreen(b *testing.B) {
	s := NewScreen(io.Discard)
	p := []byte(strings.Repeat("some text \x1b[31mred\x1b[m\r\n", 1000))
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.Write(p)
	}
}
