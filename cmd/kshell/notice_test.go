package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/stream"

	"kshell/internal/terminal"
)

// said is what the user sees of an error.
type said struct{ Words, Hint string }

func saidBy(err error) said {
	if err == nil {
		return said{}
	}
	s := said{Words: err.Error()}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		s.Hint = h.Hint()
	}
	return s
}

func TestForeignTextCannotDriveTheTerminal(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain words", `pod "web" is größer: 漢字 😀`, `pod "web" is größer: 漢字 😀`},
		{"lines become one", "a\nb\r\nc\td", "a b  c d"},
		{"space around is dropped", " \n a \n", "a"},
		{"colour", "\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		{"window title", "\x1b]0;pwned\x07", `\x1b]0;pwned\a`},
		{"bell, backspace, delete, nul", "a\a\b\x7f\x00", `a\a\b\x7f\x00`},
		{"vertical tab and form feed", "a\v\fb", `a\v\fb`},
		{"C1: one-byte CSI", "\u009b31m", `\u009b31m`},
		{"C1: NEL", "a\u0085b", `a\u0085b`},
		{"a C1 byte that is no UTF-8", "a\x9b31m", "a\uFFFD31m"},
		{"text direction", "abc\u202egnp.exe", `abc\u202egnp.exe`},
		{"isolates", "\u2066a\u2069", `\u2066a\u2069`},
		{"invisible", "a\u200bb\ufeffc\u00add", `a\u200bb\ufeffc\u00add`},
		{"tags", "a\U000e0041", `a\U000e0041`},
		{"invalid UTF-8", "a\xff\xfeb\xc3", "a\uFFFDb\uFFFD"},
		{"nothing", "", ""},
		{"only what is dropped", " \r\n", ""},
		{"longest", strings.Repeat("ä", maxWords), strings.Repeat("ä", maxWords)},
		{"too long", strings.Repeat("ä", maxWords+1), strings.Repeat("ä", maxWords) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, clean(tt.in)); diff != "" {
				t.Errorf("clean (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoForeignTextFillsTheScreen(t *testing.T) {
	for _, in := range []string{"\x1b", "\U000e0041", "\xff ", "a"} {
		if n := utf8.RuneCountInString(clean(strings.Repeat(in, 1<<20))); n > maxWords+1 {
			t.Errorf("a million of %q is shown in %d characters, more than %d", in, n, maxWords)
		}
	}
}

func TestAURLIsSaidWithoutItsQuery(t *testing.T) {
	for in, want := range map[string]string{
		`Post "https://10.0.0.2:10250/exec/a/b/c?command=sh&command=-c&x=1": dial tcp: i/o timeout`: `Post "https://10.0.0.2:10250/exec/a/b/c?…": dial tcp: i/o timeout`,
		"http://a?b c://d://e?f":      "http://a?… c://d://e?…",
		"why? because: see https://a": "why? because: see https://a",
		"://":                         "://",
		"is it 'https://a?b'?":        "is it 'https://a?…'?",
	} {
		if diff := cmp.Diff(want, clean(in)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
}

func FuzzForeignText(f *testing.F) {
	for _, seed := range []string{"\x1b[2J", "\u009b", "a\nb", "\xff", "\u202e", "'", `\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := clean(in)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not valid UTF-8", got)
		}
		for _, r := range got {
			if r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Errorf("%q holds %U", got, r)
			}
		}
	})
}

func FuzzAQuotedArgumentIsOneLine(f *testing.F) {
	f.Fuzz(func(t *testing.T, in string) {
		if strings.ContainsAny(quoted(in), "\n\r\x1b") {
			t.Errorf("%q is quoted as %s", in, quoted(in))
		}
	})
}

// talk says one of each kind.
func talk(n *notice) {
	n.say("note %d", 1)
	n.caution("caution %d", 1)
	n.warn("warning %d", 2)
	n.detail("detail %d", 3)
	_, _ = fmt.Fprintln(n.details(), "log line")
	n.fail(&hinted{fmt.Errorf("broken: %w", errors.New("worse\nstill")), "type this\nor that\n"})
	n.fail(&stream.ExitError{Code: 3})
	n.fail(nil)
}

func TestWhatIsSaidDependsOnQuietAndVerbose(t *testing.T) {
	const (
		note    = "kshell: note 1\nkshell: warning: caution 1\n"
		warning = "kshell: warning: warning 2\n"
		details = "kshell: detail 3\nkshell: log line\n"
		failure = "kshell: broken: worse still\nhint: type this\nhint: or that\n"
	)
	tests := []struct {
		name      string
		quiet     bool
		verbosity int
		raw       bool
		want      string
	}{
		{"as it is", false, 0, false, note + warning + failure},
		{"-q", true, 0, false, warning + failure},
		{"-q beats -v", true, 1, false, warning + failure},
		{"-v", false, 1, false, note + warning + details + failure},
		{"-vv", false, 2, false, note + warning + details + failure},
		{"raw", false, 1, true, strings.ReplaceAll(note+warning+details+failure, "\n", "\r\n")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			n := newNotice(&out)
			n.quiet, n.verbosity = tt.quiet, tt.verbosity
			if tt.raw {
				n.setScreen(&terminal.Screen{Writer: &out})
			}
			talk(n)
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAfterRawModeLinesAreAsBefore(t *testing.T) {
	var out bytes.Buffer
	n := newNotice(&out)
	n.setScreen(&terminal.Screen{Writer: &out})
	n.say("a")
	n.setCooked()
	n.say("b")
	if got, want := out.String(), "kshell: a\r\nkshell: b\n"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
}

func TestOurWordsNeverBeginBehindTheRemotesPrompt(t *testing.T) {
	var out bytes.Buffer
	n, s := newNotice(&out), &terminal.Screen{Writer: &out}
	n.setScreen(s)
	for _, remote := range []string{"line\r\n", "$ ", ""} {
		_, _ = s.Write([]byte(remote))
		n.say("a")
	}
	_, _ = s.Write([]byte("$ "))
	n.setCooked()
	n.say("b")
	want := "line\r\nkshell: a\r\n" + "$ \r\nkshell: a\r\n" + "kshell: a\r\n" + "$ \nkshell: b\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheServersWarningsAreSaid(t *testing.T) {
	var out bytes.Buffer
	a := newApp()
	a.notice, a.warnings = newNotice(&out), &atomic.Int32{}
	w := serverWarnings{a}
	w.HandleWarningHeader(299, "-", "v1 Pod is\x1b[2J deprecated")
	w.HandleWarningHeader(199, "-", "from a proxy")
	w.HandleWarningHeader(299, "-", "")
	if got, want := out.String(), "kshell: warning: v1 Pod is\\x1b[2J deprecated\n"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
	if n := a.warnings.Load(); n != 1 {
		t.Errorf("%d were counted", n)
	}
}
