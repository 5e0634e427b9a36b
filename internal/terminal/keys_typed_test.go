package terminal

import "testing"

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
