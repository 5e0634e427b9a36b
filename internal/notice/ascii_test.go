package notice

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestASCIIOnly(t *testing.T) {
	for _, test := range []struct {
		all, ctype, lang string
		want             bool
	}{
		{"", "", "", true},
		{"", "", "C", true},
		{"", "", "POSIX", true},
		{"", "", "de_DE.ISO-8859-1", true},
		{"", "", "de_DE", true},
		{"", "", "en_US.UTF-8", false},
		{"", "", "en_US.utf8", false},
		{"", "UTF-8", "C", false}, // macOS
		{"C", "en_US.UTF-8", "en_US.UTF-8", true},
		{"C.UTF-8", "", "C", false},
	} {
		t.Setenv("LC_ALL", test.all)
		t.Setenv("LC_CTYPE", test.ctype)
		t.Setenv("LANG", test.lang)
		if got := ASCIIOnly(); got != (test.want && runtime.GOOS != "windows") {
			t.Errorf("%+v: %t", test, got)
		}
	}
}

func TestASCII(t *testing.T) {
	for text, want := range map[string]string{
		"plain text": "plain text", "a…": "a...", (870 * time.Microsecond).String(): "870us",
		"é": `\u00e9`, "世": `\u4e16`, "😀": `\U0001f600`, "\ufffd": `\ufffd`,
	} {
		if got := ASCII(text); got != want {
			t.Errorf("ASCII(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestPrinter_ASCII(t *testing.T) {
	var b strings.Builder
	p := New(&b)
	p.SetASCII()
	p.WithPrefix("pöd").Note("é %s", "…")
	p.Hint("→")
	p.Ask("ü?")
	p.SetTerminal(columns(20))
	g := p.Progress()
	g.Update("waiting for ä long text")
	if got, want := b.String(), `kshell: p\u00f6d: \u00e9 ...`+"\n"+`hint: \u2192`+"\n"+`kshell: \u00fc? `+
		clearLine+"kshell: waitin..."; got != want {
		t.Errorf("printed\n%q, want\n%q", got, want)
	}
}
