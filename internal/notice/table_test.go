package notice

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	got := Table(2, [][]string{
		{"POD", "EXIT CODE", "CAUSE"},
		{"web-ü", "        0", "exited"},
		{"a\tb\nc", "      255", "\x1b[2Jlost"},
	})
	want := []string{
		"POD    EXIT CODE  CAUSE",
		"web-ü          0  exited",
		`a b c        255  \x1b[2Jlost`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
