package headlamp

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct{ text, base, cluster string }{
		{"https://h", "https://h", ""},
		{"https://h/", "https://h", ""},
		{"https://h/base//", "https://h/base", ""},
		{"h:4466", "https://h:4466", ""},
		{"localhost:4466/base", "https://localhost:4466/base", ""},
		{"http://[::1]:4466", "http://[::1]:4466", ""},
		{"HTTPS://h/base", "https://h/base", ""},
		{"https://h/clusters/prod", "https://h", "prod"},
		{"https://h/base/clusters/prod/", "https://h/base", "prod"},
		{"https://h/base/clusters/prod/api/v1/pods?limit=1", "https://h/base", "prod"},
		{"https://h/c/prod/pods/clusters/web?x=y", "https://h", "prod"},
		{"https://h/base/c/prod/pods/proxy/proxy", "https://h/base", "prod"},
		{"https://h/#/c/prod/pods", "https://h", "prod"},
		{"https://h/base/index.html#/c/prod/pods/ns/web?x=y", "https://h/base", "prod"},
		{"https://h/c/my%20cluster", "https://h", "my cluster"},
		{"https://h//c//a%2Bb", "https://h", "a+b"},
		{"https://h/c/a+b/pods", "https://h", ""},
		{"https://h/clusters/a+b", "https://h", "a+b"},
		{"https://h/clusters/arn:aws:eks:eu:1:cluster--x", "https://h", "arn:aws:eks:eu:1:cluster--x"},
		{
			"https://r/k8s/clusters/c-1/api/v1/namespaces/c/services/headlamp:80/proxy/c/main",
			"https://r/k8s/clusters/c-1/api/v1/namespaces/c/services/headlamp:80/proxy", "main",
		},
		{"  https://h/c/prod \n", "https://h", "prod"},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			got, err := Parse(test.text)
			if want := (Address{test.base, test.cluster}); err != nil || got != want {
				t.Fatalf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func TestParse_Errors(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "empty",
		" ":                        "empty",
		"https://":                 "no host",
		"file:///usr/index.html":   "scheme",
		"https://u:secret@h":       "user or a password",
		"https://u:secret@h:x/":    "not a URL",
		"https://h/clusters/..":    "invalid name",
		"https://h/c/%2e/pods":     "invalid name",
		"https://h/%zz":            "not a URL",
		"https://h/a b/\x7fsecret": "not a URL",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error contains the password: %v", text, err)
		}
	}
}

func TestAddress_URL(t *testing.T) {
	for name, want := range map[string]string{
		"prod":  "https://h/base/clusters/prod",
		"a b":   "https://h/base/clusters/a%20b",
		"a?b#c": "https://h/base/clusters/a%3Fb%23c",
	} {
		if got := (Address{"https://h/base", name}).URL(); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}

func TestMapName(t *testing.T) {
	if got, want := MapName("arn:1/my ctx"), "arn:1--my__ctx"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzParse checks that the base of an address is the URL of a server, and that
// the URL of the address is parsed to the same address. That is not so if the
// base itself contains a segment such as "clusters".
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"https://h/base/clusters/a%20b/api", "h:1/c/x?y", "http://[::1]/#/c/a%2fb", "https://u@h", "//h//", "x://",
		"https://h/namespaces/a/services/b/proxy/c/d", "https://h/a%2fb/c/d", "https://H%41/c/d", "h/c/a+b",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := Parse(text)
		if err != nil {
			return
		}
		u, err := url.Parse(a.Base)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
			strings.HasSuffix(a.Base, "/") || strings.Contains(strings.TrimPrefix(a.Base, u.Scheme+"://"), "//") {
			t.Fatalf("%q: base %q", text, a.Base)
		}
		if base := segments(u.EscapedPath()); a.Cluster == "" || slices.Contains(base, "c") ||
			slices.Contains(base, "clusters") || slices.Contains(base, "proxy") {
			return
		}
		if again, err := Parse(a.URL()); err != nil || again != a {
			t.Fatalf("%q: %+v is parsed again as %+v, %v", text, a, again, err)
		}
	})
}
