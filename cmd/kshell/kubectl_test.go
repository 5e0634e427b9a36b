package main

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNormalizeVerbosity(t *testing.T) {
	for _, tt := range []struct{ args, want []string }{
		{[]string{"exec", "-v", "web"}, []string{"exec", "-v", "web"}},
		{[]string{"exec", "-v", "6", "web", "--", "-v", "6"}, []string{"exec", "-v=6", "web", "--", "-v", "6"}},
		{[]string{"--v", "10", "exec"}, []string{"-v=10", "exec"}},
		{[]string{"-v6", "-vv", "-v=2", "-v"}, []string{"-v=6", "-vv", "-v=2", "-v"}},
		{[]string{"-v", "--", "6"}, []string{"-v", "--", "6"}},
		{[]string{"-v", "123"}, []string{"-v", "123"}}, // 123 is the name of a pod
		{nil, nil},
	} {
		if diff := cmp.Diff(tt.want, normalizeVerbosity(tt.args)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.args, diff)
		}
	}
}

func TestWarningsError(t *testing.T) {
	for _, tt := range []struct {
		enabled bool
		count   int32
		want    error
	}{
		{enabled: false, count: 2},
		{enabled: true, count: 0},
		{enabled: true, count: 1, want: errors.New("the server sent a warning (--warnings-as-errors)")},
		{enabled: true, count: 2, want: errors.New("the server sent 2 warnings (--warnings-as-errors)")},
	} {
		a := newTestApp()
		a.kubectl.warningsAsErrors, a.warnings = tt.enabled, &atomic.Int32{}
		a.warnings.Store(tt.count)
		if diff := cmp.Diff(errorTextOf(tt.want), errorTextOf(a.warningsError())); diff != "" {
			t.Errorf("%t, %d warnings (-want +got):\n%s", tt.enabled, tt.count, diff)
		}
	}
}
