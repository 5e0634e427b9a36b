package fanout

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// wholeLines is a buffer. Its method Write fails the test if p does not end
// with a line feed.
type wholeLines struct {
	t *testing.T
	bytes.Buffer
}

func (w *wholeLines) Write(p []byte) (int, error) {
	if len(p) > 0 && p[len(p)-1] != '\n' {
		w.t.Errorf("a write ends within a line: %.100q", p)
	}
	return w.Buffer.Write(p)
}

func TestLineWriter_Prefix(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"lines", "a\nb\n", "p: a\np: b\n"},
		{"no line feed at the end", "a\nb", "p: a\np: b\n"},
		{"empty lines", "\n\na\n\n", strings.Repeat("p: \n", 2) + "p: a\np: \n"},
		{"carriage returns stay", "a\r\nb\rc\n", "p: a\r\np: b\rc\n"},
		{"arbitrary bytes", "\x00\x01\xff\xfe\n", "p: \x00\x01\xff\xfe\n"},
		{"longest line", long + "\n", "p: " + long + "\n"},
		{"one byte longer", long + "y\n", "p: " + long + "\np: y\n"},
		{"much longer", long + long + "z", "p: " + long + "\np: " + long + "\np: z\n"},
		{"split before a character, not in it", long[1:] + "ü\n", "p: " + long[1:] + "\np: ü\n"},
		{"split before a character of four bytes", long[2:] + "👋\n", "p: " + long[2:] + "\np: 👋\n"},
		{"split in invalid UTF-8", long[1:] + "\xff\xff\n", "p: " + long[1:] + "\xff\np: \xff\n"},
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, tt := range tests {
		for _, maxPiece := range []int{1, 2, 7, 1000, maxLine, maxLine + 1, 1 << 20} {
			if maxPiece < 7 && len(tt.in) > maxLine+100 {
				continue
			}
			out := &wholeLines{t: t}
			l := newLineWriter(out, prefixed("p", 0, false))
			for rest := []byte(tt.in); len(rest) > 0; {
				n := min(len(rest), 1+random.IntN(maxPiece))
				if _, err := l.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			l.finish()
			if out.String() != tt.want {
				t.Errorf("%s, in pieces of up to %d: %d bytes %.80q, want %d %.80q",
					tt.name, maxPiece, out.Len(), out.String(), len(tt.want), tt.want)
			}
		}
	}
}

func TestLineWriter_WritesLineWhenItEnds(t *testing.T) {
	out := &wholeLines{t: t}
	l := newLineWriter(out, prefixed("p", 0, false))
	_, _ = l.Write([]byte("one\ntw"))
	if got := out.String(); got != "p: one\n" {
		t.Errorf("wrote %q", got)
	}
}

func TestLineWriter_MemoryIsBounded(t *testing.T) {
	title := strings.Repeat("pod", 20)
	for name, piece := range map[string][]byte{
		"no line feed":    bytes.Repeat([]byte("x"), 32<<10),
		"only line feeds": bytes.Repeat([]byte("\n"), 32<<10),
		"control bytes":   bytes.Repeat([]byte("\x01"), 32<<10),
	} {
		for kind, f := range map[string]format{
			"text": prefixed(title, 0, true), "JSON": jsonLine("", Container{Pod: title}, "stdout"),
		} {
			l := newLineWriter(io.Discard, f)
			for range 5 {
				_, _ = l.Write(piece)
			}
			if n := cap(l.partial) + cap(l.ready); n > 2<<20 {
				t.Errorf("%s as %s: %d bytes in memory, want at most %d", name, kind, n, 2<<20)
			}
		}
	}
}

func TestPrefixed_ColorsDifferAndEnd(t *testing.T) {
	for _, tt := range []struct {
		title string
		i     int
		line  string
		want  string
	}{
		{"a", 0, "x", "\x1b[0;36ma:\x1b[0m x\n"},
		{"b", 7, "\x1b[31mred", "\x1b[0;33mb:\x1b[0m \x1b[31mred\n"},
	} {
		if got := string(prefixed(tt.title, tt.i, true)(nil, []byte(tt.line), false)); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
