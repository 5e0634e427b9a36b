package main

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClean_NoUserInfo(t *testing.T) {
	for in, want := range map[string]string{
		`Get "https://u:PASS@h:6443/api?x=1": EOF`:                             `Get "https://h:6443/api?…": EOF`,
		`Get "https://u:***@h/api": EOF`:                                       `Get "https://h/api": EOF`,
		`https://u@h/x`:                                                        `https://h/x`,
		`parse "https://u:PASS@h:zz/x": invalid port ":zz" after host`:         `parse "https://h:zz/x": invalid port ":zz" after host`,
		`parse "https://u:PA SS@h/x": net/url: invalid userinfo`:               `parse "https://h/x": net/url: invalid userinfo`,
		`invalid proxy address "http://u:PA\"SS@h:1"`:                          `invalid proxy address "http://h:1"`,
		`https://u:PA/SS@h/x`:                                                  `https://h/x`,
		`https://u:PA?SS@h/x?y`:                                                `https://h/x?…`,
		`https://u:PA@SS@h/x`:                                                  `https://h/x`,
		`https://u:PA:SS/h`:                                                    `https://…`,
		`socks5://u:PASS@[::1]:1080`:                                           `socks5://[::1]:1080`,
		`http://[fe80::1]:80/a, http://127.0.0.1:80/b and http://h./c`:         `http://[fe80::1]:80/a, http://127.0.0.1:80/b and http://h./c`,
		`https://h/npm/kshell@1.2.3/pod.yaml`:                                  `https://h/npm/kshell@1.2.3/pod.yaml`,
		"type `kubectl --server=https://u:PASS@h` or 'https://u:PASS@i' again": "type `kubectl --server=https://h` or 'https://i' again",
		`cannot connect to https://h:443: EOF`:                                 `cannot connect to https://h:443: EOF`,
		`at https://h:443, or (https://u:PASS@h:443).`:                         `at https://h:443, or (https://h:443).`,
		`https://u:PASS@h/ https://u:PASS@i/`:                                  `https://h/ https://i/`,
	} {
		if diff := cmp.Diff(want, clean(in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
}

// FuzzCleanNoPassword checks that a password, whatever characters it contains, does not
// appear in a message about a URL, whether the URL is escaped, or raw and quoted as in
// the errors of net/url.
func FuzzCleanNoPassword(f *testing.F) {
	for _, seed := range []string{"", "@", "/", "?", "#", " ", `"`, `\`, `\"`, "://", ":", "[", "]", "%", "'", "`", "\x00", "\xff", "é", "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		password := "hunter2" + in + "hunter2"
		escaped := url.URL{Scheme: "https", User: url.UserPassword("u", password), Host: "h:6443", Path: "/x"}
		for _, words := range []string{
			fmt.Sprintf("Get %q: refused", escaped.String()),
			"at " + escaped.String() + " or so",
			fmt.Sprintf("parse %q: wrong", "https://u:"+password+"@h:zz/x"),
			fmt.Sprintf("parse %q: wrong", "https://u:"+strings.ReplaceAll(password, "@", "")),
			shown("https://u:" + password + "@h:zz/x"),
			shown(escaped.String()),
		} {
			if got := clean(words); strings.Contains(got, "hunter2") {
				t.Errorf("%q is shown as %q", words, got)
			}
		}
	})
}
