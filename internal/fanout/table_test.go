package fanout

import (
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

func TestTable(t *testing.T) {
	got := table([]result{
		newResult("web-1", nil),
		newResult("web-22/app", &stream.ExitError{Code: 3}),
		newResult("db", &stream.LostError{Err: io.EOF}),
		newResult("x", &pod.NotRunningError{}),
		newResult("y", outcome.TimeoutError{After: 1}),
	})
	want := []string{
		"POD         EXIT CODE  CAUSE",
		"web-1               0  exited",
		"web-22/app          3  exited",
		"db                255  lost",
		"x                 255  not-running",
		"y                 124  timeout",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
