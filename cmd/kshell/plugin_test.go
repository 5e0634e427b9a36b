package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseArgv(t *testing.T) {
	tests := []struct {
		argv []string
		name string
		args []string
	}{
		{nil, "kshell", nil},
		{[]string{"kshell", "exec", "web"}, "kshell", []string{"exec", "web"}},
		{[]string{"/opt/kshell-v2", "exec"}, "kshell", []string{"exec"}},
		{[]string{"/usr/bin/kubectl-kshell", "exec", "web"}, "kubectl kshell", []string{"exec", "web"}},
		{[]string{"kubectl-kshell.exe", "exec"}, "kubectl kshell", []string{"exec"}},
		{[]string{"./kubectl_complete-kshell", "exec", ""}, "kubectl kshell", []string{"__complete", "exec", ""}},
	}
	for _, tt := range tests {
		name, args := parseArgv(tt.argv)
		if name != tt.name {
			t.Errorf("%q: %q, want %q", tt.argv, name, tt.name)
		}
		if diff := cmp.Diff(tt.args, args); diff != "" {
			t.Errorf("%q: arguments (-want +got):\n%s", tt.argv, diff)
		}
	}
}
