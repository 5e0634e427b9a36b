package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestALevelIsTakenAsKubectlTakesIt(t *testing.T) {
	for _, tt := range []struct{ args, want []string }{
		{[]string{"exec", "-v", "web"}, []string{"exec", "-v", "web"}},
		{[]string{"exec", "-v", "6", "web", "--", "-v", "6"}, []string{"exec", "-v=6", "web", "--", "-v", "6"}},
		{[]string{"--v", "10", "exec"}, []string{"-v=10", "exec"}},
		{[]string{"-v6", "-vv", "-v=2", "-v"}, []string{"-v=6", "-vv", "-v=2", "-v"}},
		{[]string{"-v", "--", "6"}, []string{"-v", "--", "6"}},
		{[]string{"-v", "123"}, []string{"-v", "123"}}, // a pod
		{nil, nil},
	} {
		if diff := cmp.Diff(tt.want, leveled(tt.args)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.args, diff)
		}
	}
}
