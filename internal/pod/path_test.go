package pod

import "testing"

func TestPaths_NamesAreEscaped(t *testing.T) {
	tests := []struct{ namespace, pod, want string }{
		{"shop", "web-0", "/api/v1/namespaces/shop/pods/web-0/exec"},
		{"a/b", "c?d#e%f", "/api/v1/namespaces/a%2Fb/pods/c%3Fd%23e%25f/exec"},
		{"..", ".", "/api/v1/namespaces/%2E%2E/pods/%2E/exec"},
	}
	for _, test := range tests {
		if got := ExecPath(test.namespace, test.pod); got != test.want {
			t.Errorf("ExecPath(%q, %q) = %s, want %s", test.namespace, test.pod, got, test.want)
		}
	}
	if got, want := AttachPath("shop", "web"), "/api/v1/namespaces/shop/pods/web/attach"; got != want {
		t.Errorf("AttachPath: got %s, want %s", got, want)
	}
}
