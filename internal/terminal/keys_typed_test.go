package terminal

import (
	"io"
	"strings"
	"testing"
)

func TestEscapeFilter_CountTyped(t *testing.T) {
	for _, tt := range []struct {
		read string
		want int
	}{
		{"", 0},
		{"ab", 2},
		{"\x1b", 1},            // the key ESC
		{"a\x1b", 2},           // a key, then ESC
		{"\x1b\x1b", 2},        // ESC twice
		{"\x1b[1\x1b", 4},      // keys that look like a sequence, then ESC
		{"\x1b[A", 3},          // a cursor key
		{"\x1b[Ab", 4},         // a cursor key and another key
		{"\x1b[", 0},           // unfinished
		{"a\x1b[1;", 1},        // a key, then an unfinished sequence
		{"\x1b[1;1R", 0},       // a report
		{"\x1b[1;1Ra", 1},      // a report and a key
		{"a\x1b[I\x1b[Ob", 2},  // reports between keys
		{"\x1b[1;1R\x1b[A", 3}, // a report and a cursor key
	} {
		e := escapeFilter{}
		if got := e.countTyped([]byte(tt.read)); got != tt.want {
			t.Errorf("of %q %d bytes count as typed, want %d", tt.read, got, tt.want)
		}
	}
}

func TestKeys_OnTyped(t *testing.T) {
	for input, want := range map[string]bool{
		"a": true, "\x1b[A": true, "\x1b[200~pasted\x1b[201~": true, "~.": true,
		"": false, "\x1b[1;1R": false, "\x1b[<0;1;2M": false, "\x1b[I": false,
	} {
		typed := false
		k := NewKeys(strings.NewReader(input), func() bool { return true }, '~', ".", func(byte) {})
		k.OnTyped(func() { typed = true })
		_, _ = io.ReadAll(k)
		k.Cancel()
		if typed != want {
			t.Errorf("%q: got %t", input, typed)
		}
	}
}

func TestEscapeFilter_DropReports(t *testing.T) {
	const position, color, version = "\x1b[2;5R", "\x1b]11;rgb:00/00/00\x1b\\", "\x1bP>|term(1)\x1b\\"
	const paste = "\x1b[200~a" + position + "\x1b[201~"
	tests := map[string]struct {
		reads []string
		want  string
	}{
		"answers to queries":           {[]string{position + color, version, "\x1b[I"}, ""},
		"an answer in two reads":       {[]string{"\x1b[2;", "5R" + color[:6], color[6:]}, ""},
		"answers before a key":         {[]string{position, color + "ls"}, "ls"},
		"answers after a key":          {[]string{"l" + position, color}, "l" + position + color},
		"a cursor key":                 {[]string{position + "\x1b[A", position}, "\x1b[A" + position},
		"the key ESC":                  {[]string{"\x1b", position}, "\x1b" + position},
		"the key ESC and another key":  {[]string{"\x1b", "x"}, "\x1bx"},
		"ESC before a sequence":        {[]string{"\x1b\x1b[A"}, "\x1b\x1b[A"},
		"a click":                      {[]string{position, "\x1b[<0;1;2M", position}, "\x1b[<0;1;2M" + position},
		"a click in the older format":  {[]string{"\x1b[M !!", position}, "\x1b[M !!" + position},
		"a paste":                      {[]string{paste}, paste},
		"an escape key of kshell":      {[]string{position, "~", "."}, "<.>"},
		"the escape character, a word": {[]string{"~", "a"}, "~a"},
	}
	for name, tt := range tests {
		var got []byte
		e := escapeFilter{
			escape: '~', known: ".", lineStart: true, dropReports: true,
			pass: func(p []byte) { got = append(got, p...) }, onKey: func(key byte) { got = append(got, '<', key, '>') },
		}
		for _, read := range tt.reads {
			e.process([]byte(read))
		}
		if string(got) != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
