package notice

import (
	"strings"
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

func TestTableIn(t *testing.T) {
	t.Parallel()
	rows := [][]string{{"  NAME", "STATUS"}, {"* web-7c5ddbdf54-24bqk", "Running"}, {"  db", "Failed\n"}}
	table := Table(3, rows)
	lists := []string{"NAME: * web-7c5ddbdf54-24bqk", "STATUS: Running", "", "NAME: db", "STATUS: Failed"}
	for width, want := range map[int][]string{0: table, 20: lists, 31: lists, 32: table, 39: table, 40: table, 80: table} {
		if diff := cmp.Diff(want, TableIn(width, 3, rows)); diff != "" {
			t.Errorf("width %d (-want +got):\n%s", width, diff)
		}
	}
	wide := [][]string{{"NAME"}, {strings.Repeat("x", 50)}}
	if got := TableIn(40, 3, wide); len(got) != 2 {
		t.Errorf("a wide table in 40 columns: %q", got)
	}
}
