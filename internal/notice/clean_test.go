package notice

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestClean(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain text", `pod "web" is größer: 漢字 😀`, `pod "web" is größer: 漢字 😀`},
		{"line breaks and tab", "a\nb\r\nc\td", "a b  c d"},
		{"surrounding space", " \n a \n", "a"},
		{"color", "\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		{"window title", "\x1b]0;pwned\x07", `\x1b]0;pwned\a`},
		{"bell, backspace, delete, nul", "a\a\b\x7f\x00", `a\a\b\x7f\x00`},
		{"vertical tab and form feed", "a\v\fb", `a\v\fb`},
		{"line and paragraph separator", "a\u2028b\u2029c", "a b c"},
		{"C1: one-byte CSI", "\u009b31m", `\u009b31m`},
		{"C1: NEL", "a\u0085b", `a\u0085b`},
		{"C1 byte, not UTF-8", "a\x9b31m", "a\uFFFD31m"},
		{"text direction", "abc\u202egnp.exe", `abc\u202egnp.exe`},
		{"isolates", "\u2066a\u2069", `\u2066a\u2069`},
		{"invisible", "a\u200bb\ufeffc\u00add", `a\u200bb\ufeffc\u00add`},
		{"tags", "a\U000e0041", `a\U000e0041`},
		{"invalid UTF-8", "a\xff\xfeb\xc3", "a\uFFFDb\uFFFD"},
		{"empty", "", ""},
		{"only space", " \r\n", ""},
		{"longest", strings.Repeat("ä", maxMessage), strings.Repeat("ä", maxMessage)},
		{"too long", strings.Repeat("ä", maxMessage+1), strings.Repeat("ä", maxMessage) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Clean(tt.in)); diff != "" {
				t.Errorf("Clean (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClean_Length(t *testing.T) {
	for _, in := range []string{"\x1b", "\U000e0041", "\xff ", "a"} {
		if n := utf8.RuneCountInString(Clean(strings.Repeat(in, 1<<20))); n > maxMessage+1 {
			t.Errorf("result of 1<<20 times %q has %d characters, want at most %d", in, n, maxMessage+1)
		}
	}
}

func TestClean_URLQuery(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{
			`Post "https://10.0.0.2:10250/exec/a/b?command=sh&x=1": i/o timeout`,
			`Post "https://10.0.0.2:10250/exec/a/b?…": i/o timeout`,
		},
		{"http://a?b c://d://e?f", "http://a?… c://d://e?…"},
		{"why? because: see https://a", "why? because: see https://a"},
		{"://", "://"},
		{"is it 'https://a?b'?", "is it 'https://a?…'?"},
	} {
		if diff := cmp.Diff(c.want, Clean(c.in)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.in, diff)
		}
	}
}

func TestClean_URLUserInfo(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`Get "https://u:PASS@h:6443/api?x=1": EOF`, `Get "https://h:6443/api?…": EOF`},
		{`Get "https://u:***@h/api": EOF`, `Get "https://h/api": EOF`},
		{`https://u@h/x`, `https://h/x`},
		{
			`parse "https://u:PASS@h:zz/x": invalid port ":zz" after host`,
			`parse "https://h:zz/x": invalid port ":zz" after host`,
		},
		{`parse "https://u:PA SS@h/x": net/url: invalid userinfo`, `parse "https://h/x": net/url: invalid userinfo`},
		{`invalid proxy address "http://u:PA\"SS@h:1"`, `invalid proxy address "http://h:1"`},
		{`https://u:PA/SS@h/x`, `https://h/x`},
		{`https://u:PA?SS@h/x?y`, `https://h/x?…`},
		{`https://u:PA@SS@h/x`, `https://h/x`},
		{`https://u:PA:SS/h`, `https://…`},
		{`type --proxy-url=http://HOST:PORT`, `type --proxy-url=http://HOST:PORT`},
		{`socks5://u:PASS@[::1]:1080`, `socks5://[::1]:1080`},
		{
			`http://[fe80::1]:80/a, http://127.0.0.1:80/b and http://h./c`,
			`http://[fe80::1]:80/a, http://127.0.0.1:80/b and http://h./c`,
		},
		{`https://h/npm/kshell@1.2.3/pod.yaml`, `https://h/npm/kshell@1.2.3/pod.yaml`},
		{
			"type `kubectl --server=https://u:PASS@h` or 'https://u:PASS@i' again",
			"type `kubectl --server=https://h` or 'https://i' again",
		},
		{`cannot connect to https://h:443: EOF`, `cannot connect to https://h:443: EOF`},
		{`at https://h:443, or (https://u:PASS@h:443).`, `at https://h:443, or (https://h:443).`},
		{`https://u:PASS@h/ https://u:PASS@i/`, `https://h/ https://i/`},
	} {
		if diff := cmp.Diff(c.want, Clean(c.in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.in, diff)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"\x1b[2J", "\u009b", "a\nb", "\xff", "\u202e", "'", `\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := Clean(in)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not valid UTF-8", got)
		}
		for _, r := range got {
			if r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Errorf("%q contains %U", got, r)
			}
		}
	})
}

// FuzzClean_Password checks that no password appears in a message about a URL.
// The password may contain any characters. The URL is escaped, or raw and
// quoted as in the errors of net/url.
func FuzzClean_Password(f *testing.F) {
	for _, seed := range []string{
		"", "@", "/", "?", "#", " ", `"`, `\`, `\"`, "://", ":", "[", "]", "%", "'", "`", "\x00", "\xff", "é", "\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		password := "hunter2" + in + "hunter2"
		escaped := url.URL{Scheme: "https", User: url.UserPassword("u", password), Host: "h:6443", Path: "/x"}
		for _, text := range []string{
			fmt.Sprintf("Get %q: refused", escaped.String()),
			"at " + escaped.String() + " or so",
			fmt.Sprintf("parse %q: wrong", "https://u:"+password+"@h:zz/x"),
			fmt.Sprintf("parse %q: wrong", "https://u:"+strings.ReplaceAll(password, "@", "")),
		} {
			if got := Clean(text); strings.Contains(got, "hunter2") {
				t.Errorf("%q becomes %q", text, got)
			}
		}
	})
}
