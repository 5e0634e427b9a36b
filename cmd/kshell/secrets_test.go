package main

import (
	"net/url"
	"strings"
	"testing"

	"kshell/internal/notice"
)

// FuzzRedactURL checks that no part of a password is left in a URL, whatever
// characters the password contains.
func FuzzRedactURL(f *testing.F) {
	for _, seed := range []string{
		"", "@", "/", "?", "#", " ", `"`, `\`, `\"`, "://", ":", "[", "]", "%", "'", "`", "\x00", "\xff", "é", "\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		password := "hunter2" + in + "hunter2"
		escaped := url.URL{Scheme: "https", User: url.UserPassword("u", password), Host: "h:6443", Path: "/x"}
		for _, name := range []string{redactURL("https://u:" + password + "@h:zz/x"), redactURL(escaped.String())} {
			if got := notice.Clean(name); strings.Contains(got, "hunter2") {
				t.Errorf("%q becomes %q", name, got)
			}
		}
	})
}
