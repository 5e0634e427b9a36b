package kubeconfig

import (
	"strings"
	"testing"
)

func TestDescribeAddress(t *testing.T) {
	const port, brackets = "has an invalid port", "is an IPv6 address without brackets"
	for _, tt := range []struct{ value, shown, problem, bracketed string }{
		{"https://h", "https://h", "", ""},
		{"HTTPS://h", "HTTPS://h", "", ""},
		{"https://h:6443/k8s/clusters/c-1?x=1", "https://h:6443", "", ""},
		{"https://u:" + secret + "@h:6443", "https://h:6443", "", ""},
		{"https://u:" + secret + "/@?x@h:6443", "https://h:6443", "", ""}, // reported by client-go
		{"https://u:" + secret + "/@?x@h i", "https://h i", "is not a URL", ""},
		{"https://[fe80::1]:6443", "https://[fe80::1]:6443", "", ""},
		{"https://[fe80::1]", "https://[fe80::1]", "", ""},
		{"h:6443", "h:6443", "", ""},
		{"h", "h", "", ""},
		{"https://fe80::1:6443", "fe80::1:6443", brackets, "https://[fe80::1]:6443"},
		{"https://fe80::1:beef/x", "fe80::1:beef", brackets, "https://[fe80::1:beef]"},
		{"https://::1", "::1", brackets, "https://[::1]"},
		{"::1:6443", "::1:6443", brackets, "[::1]:6443"},
		{"https://h:zz", "https://h", port, ""},
		{"https://h:70000", "https://h", port, ""},
		{"https://[::1]:zz", "https://[::1]", port, ""},
		{"https://u:" + secret, "https://u", port, ""}, // a password without @ and a host
		{"https://a:b:c", "https://a", port, ""},
		{"ftp://h:1", "ftp://h:1", `has the scheme "ftp", and not https or http`, ""},
		{"https://", "https://", "has no host", ""},
		{" https://h", "https://h", "begins or ends with a space", ""},
		{"https//h:6443", "https//h:6443", "", ""}, // reported by client-go
	} {
		shown, problem, bracketed := describeAddress(tt.value, "https", "http")
		if shown != tt.shown || problem != tt.problem || bracketed != tt.bracketed {
			t.Errorf("%q: %q %q %q, want %q %q %q", tt.value, shown, problem, bracketed, tt.shown, tt.problem, tt.bracketed)
		}
	}
}

// FuzzDescribeAddress checks that no part of a password is shown.
func FuzzDescribeAddress(f *testing.F) {
	for _, seed := range []string{"", "@", "/", "?", "#", " ", ":", "[", "]", "%", "://"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, value := range []string{
			"https://u:hunter2" + in + "hunter2@h:6443", "socks5h://u:hunter2" + in + "hunter2@h:zz", "u:hunter2" + in + "@h",
		} {
			shown, problem, bracketed := describeAddress(value, "https")
			if strings.Contains(shown+problem+bracketed, "hunter2") {
				t.Errorf("%q: %q %q %q", value, shown, problem, bracketed)
			}
		}
	})
}
