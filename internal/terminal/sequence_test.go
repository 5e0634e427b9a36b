package terminal

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/vt"
	"github.com/google/go-cmp/cmp"
)

// pieces is a source. Each Read returns the next string.
type pieces []string

func (p *pieces) Read(buf []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(buf, (*p)[0])
	*p = (*p)[1:]
	return n, nil
}

// split splits a string into strings of one byte.
func split(s string) []string {
	var all []string
	for i := range len(s) {
		all = append(all, s[i:i+1])
	}
	return all
}

// sendReads passes reads through Keys. It returns the input that was passed on,
// and the keys after the escape character that are commands for kshell.
func sendReads(t *testing.T, reads ...string) (passed, own string) {
	t.Helper()
	source := pieces(reads)
	var done []byte
	k := NewKeys(&source, never, '~', ".?", func(key byte) { done = append(done, key) })
	got, err := io.ReadAll(k)
	k.Cancel()
	if err != nil {
		t.Errorf("reading failed: %v", err)
	}
	return string(got), string(done)
}

// reports are sequences that the terminal itself sends, such as answers to
// queries.
var reports = map[string]string{
	"cursor position":                 "\x1b[24;3R",
	"cursor position, line 99":        "\x1b[99;3R",
	"extended cursor position":        "\x1b[?24;3;1R",
	"status":                          "\x1b[0n",
	"color scheme":                    "\x1b[?997;1n",
	"primary attributes":              "\x1b[?65;1;9c",
	"secondary attributes":            "\x1b[>1;10;0c",
	"window size":                     "\x1b[8;24;80t",
	"mode":                            "\x1b[?2026;2$y",
	"focus in":                        "\x1b[I",
	"focus out":                       "\x1b[O",
	"mouse X10":                       "\x1b[M !!",
	"mouse X10, bytes like sequences": "\x1b[M~.\x1b",
	"mouse SGR press":                 "\x1b[<0;10;5M",
	"mouse SGR release":               "\x1b[<0;10;5m",
	"mouse urxvt":                     "\x1b[32;10;5M",
	"kitty keyboard flags":            "\x1b[?1u",
	"background, BEL":                 "\x1b]11;rgb:0000/0000/0000\a",
	"background, ST":                  "\x1b]11;rgb:0000/0000/0000\x1b\\",
	"device control string":           "\x1bP>|xterm (390)\x1b\\",
	"application command":             "\x1b_Gi=31;OK\x1b\\",
	"two in a row":                    "\x1b[24;3R\x1b[I",
}

// A report between Enter, ~ and . is passed on, and does not count as typed.
// This does not depend on how the report is split over reads.
func TestKeys_Reports(t *testing.T) {
	for name, report := range reports {
		t.Run(name, func(t *testing.T) {
			for at := 0; at <= len(report); at++ {
				first, rest := report[:at], report[at:]
				passed, own := sendReads(t, "ls\r", first, rest, "~", ".", "\r", "~", first+rest, ".", "\r", "~?"+report)
				if passed != "ls\r"+report+"\r"+report+"\r"+report || own != "..?" {
					t.Fatalf("split at %d: passed %q, own keys %q", at, passed, own)
				}
			}
			passed, own := sendReads(t, slices.Concat([]string{"x\r"}, split(report), []string{"~", "."})...)
			if passed != "x\r"+report || own != "." {
				t.Errorf("byte by byte: passed %q, own keys %q", passed, own)
			}
			if passed, own := sendReads(t, "\x1b", report, "~", "."); passed != "\x1b"+report+"~." || own != "" {
				t.Errorf("after ESC: passed %q, own keys %q", passed, own)
			}
			if passed, own := sendReads(t, "x", report, "~."); passed != "x"+report+"~." || own != "" {
				t.Errorf("within a line: passed %q, own keys %q", passed, own)
			}
			if passed, own := sendReads(t, "~", "a", report, "\r~"); passed != "~a"+report+"\r~" || own != "" {
				t.Errorf("after another key: passed %q, own keys %q", passed, own)
			}
		})
	}
}

// On a slow link, the answer to a query that the prompt contains may arrive
// after the user has typed ~.
func TestKeys_ReportAfterEscapeCharacter(t *testing.T) {
	for name, report := range reports {
		if passed, own := sendReads(t, "~", report[:2], report[2:], "."); passed != report || own != "." {
			t.Errorf("%s: passed %q, own keys %q", name, passed, own)
		}
	}
}

// Sequences that keys send count as typed.
func TestKeys_SequencesOfKeys(t *testing.T) {
	for name, key := range map[string]string{
		"ESC":                     "\x1b",
		"ESC twice":               "\x1b\x1b",
		"up":                      "\x1b[A",
		"up, application":         "\x1bOA",
		"up, Alt":                 "\x1b\x1b[A",
		"F1":                      "\x1bOP",
		"F5":                      "\x1b[15~",
		"Shift-Tab":               "\x1b[Z",
		"Alt-a":                   "\x1ba",
		"Alt-Backspace":           "\x1b\x7f",
		"Ctrl-Left":               "\x1b[1;5D",
		"Ctrl-i of kitty":         "\x1b[105;5u",
		"F9 with two parameters":  "\x1b[20;0~",
		"a parameter of 4 digits": "\x1b[2010~",
		"F1 of Linux":             "\x1b[[A",
		"umlaut":                  "ä",
		"Alt-[":                   "\x1b[",
		"Ctrl-A":                  "\x01",
	} {
		t.Run(name, func(t *testing.T) {
			if passed, own := sendReads(t, key, "~", "."); passed != key+"~." || own != "" {
				t.Errorf("at once: passed %q, own keys %q", passed, own)
			}
			if passed, own := sendReads(t, append(split(key), "~", ".")...); passed != key+"~." || own != "" {
				t.Errorf("byte by byte: passed %q, own keys %q", passed, own)
			}
			if passed, own := sendReads(t, "~", key, ".", "x"); passed != "~"+key+".x" || own != "" {
				t.Errorf("after the escape character: passed %q, own keys %q", passed, own)
			}
			if passed, own := sendReads(t, key, "\r", "~", "."); passed != key+"\r" || own != "." {
				t.Errorf("in the line before: passed %q, own keys %q", passed, own)
			}
		})
	}
}

// A user of vi may type ESC and then a character that, after ESC, begins a
// string or another sequence. Enter ends the sequence, so the next ~ is at the
// beginning of a line.
func TestKeys_EnterAfterUnfinishedSequence(t *testing.T) {
	for _, key := range []string{"]", "P", "X", "_", "^", "[", "O", "[12"} {
		if passed, own := sendReads(t, "\x1b", key, "\r", "~", "."); passed != "\x1b"+key+"\r" || own != "." {
			t.Errorf("ESC %s: passed %q, own keys %q", key, passed, own)
		}
	}
}

// Keys that look like the beginning of a report are not lost when a control
// character follows, and the escape character before them has no effect.
func TestKeys_UnfinishedSequenceAfterEscapeCharacter(t *testing.T) {
	for _, key := range []string{"]", "P", "X", "_", "^", "[", "[12"} {
		for _, next := range []string{"\v", "\x1a", "\r"} {
			source := pieces{"~", "\x1b" + key, next}
			k := NewKeys(&source, never, '~', ".\x1a", func(byte) { t.Errorf("ESC %s: a key of kshell", key) })
			got, err := io.ReadAll(k)
			k.Cancel()
			if want := "~\x1b" + key + next; string(got) != want || err != nil {
				t.Errorf("passed %q, error %v; want %q", got, err, want)
			}
		}
	}
}

func TestKeys_Paste(t *testing.T) {
	for name, tt := range map[string]struct {
		reads []string
		want  string // the input that is passed on; empty means all input
		own   string
	}{
		"lines that begin with the escape character": {reads: []string{"~.\r~?\r~~\r"}},
		"a key and more":                   {reads: []string{"~.x"}},
		"Enter and a key":                  {reads: []string{"\r~."}},
		"Enter and the escape character":   {reads: []string{"\r~", ".", "x"}},
		"the escape character twice":       {reads: []string{"~~ home"}},
		"a line after a line in its reads": {reads: []string{"a\r~", ".b\r"}},
		"a key after the escape character": {reads: []string{"~", ".and more"}},
		"brackets":                         {reads: []string{"\x1b[200~", "~", ".", "\r", "~.", "\r", "~", "~", "\x1b[201~"}},
		"brackets in one read":             {reads: []string{"\x1b[200~~.\x1b[201~"}},
		"brackets, byte by byte":           {reads: split("\x1b[200~\r~.\x1b[20\x1b[201\r~.\r~?\x1b[201~")},
		"a key after brackets": {
			reads: []string{"\x1b[200~a\r\x1b[201~", "\r", "~", "."},
			want:  "\x1b[200~a\r\x1b[201~\r",
			own:   ".",
		},
		"within the line after brackets": {reads: []string{"\x1b[200~a\r\x1b[201~", "~", "."}},
		"typed at once":                  {reads: []string{"\r", "~."}, want: "\r", own: "."},
		"typed":                          {reads: []string{"\r", "~", ".", "~", "?"}, want: "\r", own: ".?"},
		"twice, typed":                   {reads: []string{"\r", "~", "~", "."}, want: "\r~."},
		"an unknown key":                 {reads: []string{"~/", "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			want := tt.want
			if tt.own == "" && want == "" {
				want = strings.Join(tt.reads, "")
			}
			if passed, own := sendReads(t, tt.reads...); passed != want || own != tt.own {
				t.Errorf("passed %q, own keys %q; want %q and %q", passed, own, want, tt.own)
			}
		})
	}
}

// Input that is dropped while another program uses the terminal may contain the
// end of a paste.
func TestKeys_InputLostDuringPaste(t *testing.T) {
	source, user := io.Pipe()
	own := make(chan byte, 1)
	k := NewKeys(source, func() bool { return source.Close() == nil }, '~', ".", func(key byte) { own <- key })
	defer k.Cancel()
	typed := func(keys string) { _, _ = user.Write([]byte(keys)) }
	go typed("\x1b[200~abc")
	if _, err := io.ReadFull(k, make([]byte, 9)); err != nil {
		t.Fatal(err)
	}
	k.NewLine()
	k.InputLost()
	go typed("~.")
	go func() { _, _ = io.Copy(io.Discard, k) }()
	if got := <-own; got != '.' {
		t.Errorf("key %q, want .", got)
	}
}

// The answers of a terminal emulator to queries are recognized as reports.
func TestKeys_AnswersOfEmulator(t *testing.T) {
	for name, query := range map[string]string{
		"cursor":       "\x1b[6n",
		"status":       "\x1b[5n",
		"attributes":   "\x1b[c",
		"attributes 2": "\x1b[>c",
		"mode":         "\x1b[?7$p",
		"cursor, DEC":  "\x1b[?6n",
	} {
		t.Run(name, func(t *testing.T) {
			screen := vt.NewEmulator(80, 24)
			answers := make(chan string, 1)
			go func() {
				buf := make([]byte, 100)
				n, _ := screen.Read(buf)
				answers <- string(buf[:n])
			}()
			if _, err := io.WriteString(screen, query); err != nil {
				t.Fatal(err)
			}
			answer := <-answers
			if passed, own := sendReads(t, answer, "~", "."); passed != answer || own != "." {
				t.Errorf("the answer %q: passed %q, own keys %q", answer, passed, own)
			}
		})
	}
}

// classes returns the class of each byte of the reads.
func classes(reads ...string) []inputClass {
	var p inputParser
	var all []inputClass
	for _, read := range reads {
		for i := range len(read) {
			all = append(all, p.next(read[i]))
		}
	}
	return all
}

// FuzzKeys checks that all input except kshell's keys is passed on unchanged
// and in order. Only an escape character may change its place: a report that
// follows the escape character may be passed on before it. FuzzKeys also checks
// that the class of a byte does not depend on how the input is split over
// reads.
func FuzzKeys(f *testing.F) {
	for _, report := range reports {
		f.Add("ls\r"+report+"~.", uint16(5))
	}
	f.Add("\x1b[200~\r~.\x1b[201~\r~.", uint16(7))
	f.Add("\x1b\x1b[A\x1bP\r~.", uint16(3))
	f.Add("~\x1bX", uint16(1)) // a string that does not end
	f.Fuzz(func(t *testing.T, input string, cut uint16) {
		at := int(cut) % (len(input) + 1)
		if diff := cmp.Diff(classes(input), classes(split(input)...)); diff != "" {
			t.Error(diff)
		}
		for _, reads := range [][]string{{input}, {input[:at], input[at:]}, split(input)} {
			reads = slices.DeleteFunc(slices.Clone(reads), func(s string) bool { return s == "" })
			reads = append(reads, "x") // releases a held escape character
			source := pieces(reads)
			var own []byte
			var passed strings.Builder
			e := escapeFilter{escape: '~', known: ".?", lineStart: true, onKey: func(key byte) { own = append(own, key) }}
			e.pass = func(p []byte) { passed.Write(p) }
			buf := make([]byte, len(input)+1)
			for n, err := source.Read(buf); err == nil; n, err = source.Read(buf) {
				e.process(buf[:n])
			}
			e.out = e.out[:0]
			e.releaseHeld()
			e.pass(e.out)
			if !isWithout(passed.String(), input+"x") {
				t.Errorf("%q became %q and own keys %q", reads, passed.String(), own)
			}
			sameEscapes := strings.Count(passed.String(), "~") == strings.Count(input, "~")
			if len(own) == 0 && sameEscapes && passed.Len() != len(input)+1 {
				t.Errorf("%q became %q", reads, passed.String())
			}
		}
	})
}

// isWithout reports whether text is want, or want without some of its "." and
// "?". It ignores every "~" in text and want.
func isWithout(text, want string) bool {
	text, want = strings.ReplaceAll(text, "~", ""), strings.ReplaceAll(want, "~", "")
	for len(want) > 0 {
		switch {
		case text != "" && text[0] == want[0]:
			text = text[1:]
		case want[0] != '.' && want[0] != '?':
			return false
		}
		want = want[1:]
	}
	return text == ""
}
