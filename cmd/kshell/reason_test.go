package main

import (
	"regexp"
	"strings"
	"testing"
)

func TestEncodeReason(t *testing.T) {
	for _, test := range []struct {
		reason, want string
		cut          bool
	}{
		{"INC-4711 disk full", "INC-4711 disk full", false},
		{"  two \t\r\n lines\n", "two lines", false},
		{"", "", false},
		{" \n", "", false},
		{`"quoted" \ 100%`, "%22quoted%22 %5C 100%25", false},
		{"grün \x1b[31m\x00\x7f", "gr%C3%BCn %1B[31m%00%7F", false},
		{"a\xffb", "a%EF%BF%BDb", false},
		{strings.Repeat("x", 200), strings.Repeat("x", 200), false},
		{strings.Repeat("x", 201), strings.Repeat("x", 200), true},
		{strings.Repeat("x", 195) + "üü", strings.Repeat("x", 195), true},
		{strings.Repeat("x", 194) + "üü", strings.Repeat("x", 194) + "%C3%BC", true},
	} {
		if got, cut := encodeReason(test.reason); got != test.want || cut != test.cut {
			t.Errorf("%q: got %q, %t", test.reason, got, cut)
		}
	}
}

func FuzzEncodeReason(f *testing.F) {
	f.Add("INC-4711 \"disk\" full\n100 %")
	f.Fuzz(func(t *testing.T, reason string) {
		got, _ := encodeReason(reason)
		if !regexp.MustCompile(`^[ -~]{0,200}$`).MatchString(got) || strings.ContainsAny(got, `"\`) {
			t.Errorf("%q: got %q", reason, got)
		}
	})
}

func TestUserAgent(t *testing.T) {
	for reason, want := range map[string]string{
		"":                    `^kshell/\S+ \(\w+/\w+\)$`,
		"INC-4711\ndisk full": `^kshell/\S+ \(\w+/\w+\) reason="INC-4711 disk full"$`,
	} {
		if got := userAgent(reason); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%q: got %q", reason, got)
		}
	}
}
