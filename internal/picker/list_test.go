package picker

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func threeRows() List {
	l := List{Header: []string{"NAME", "STATUS"}}
	for _, name := range []string{"api-1", "api-2", "web-1"} {
		l.Rows = append(l.Rows, []string{name, "Running"})
	}
	return l
}

func TestViewSearch(t *testing.T) {
	t.Parallel()
	for query, want := range map[string][]int{"": {0, 1, 2}, "api": {0, 1}, "1 RUN": {0, 2}, "2 web": nil, "x": nil} {
		v := newView(threeRows(), 40, 6, Options{})
		v.setQuery([]rune(query))
		if diff := cmp.Diff(want, v.matches); diff != "" {
			t.Errorf("%q (-want +got):\n%s", query, diff)
		}
	}
}

func TestViewLines_SelectedIsVisible(t *testing.T) {
	t.Parallel()
	l := threeRows()
	l.Selected = 2
	lines := newView(l, 40, 6, Options{}).lines() // two rows fit
	if !slices.Contains(lines, "> web-1  Running") || slices.Contains(lines, "  api-1  Running") {
		t.Errorf("lines:\n%s", strings.Join(lines, "\n"))
	}
}

func TestListFormat_LongName(t *testing.T) {
	t.Parallel()
	l := List{
		Header: []string{"NAME", "READY", "STATUS", "RESTARTS", "AGE"},
		Rows:   [][]string{{strings.Repeat("long-", 40) + "end", "0/2", "Running", "0", "?"}},
	}
	_, rows := l.format(60, "…")
	if diff := cmp.Diff([]string{"long-long-long…-long-long-end  0/2    Running  0         ?"}, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// In a narrow terminal, each line fits: the last columns are left out, then the
// middle of the names. What is left out depends only on the width.
func TestViewLines_Narrow(t *testing.T) {
	t.Parallel()
	l := List{
		Title: "pods in namespace default", Header: []string{"NAME", "READY", "STATUS", "RESTARTS", "AGE"},
		Rows: [][]string{
			{"web-7c5ddbdf54-24bqk", "1/1", "Running", "0", "3d"},
			{"web-7c5ddbdf54-9x2lm", "0/1", "ImagePullBackOff", "0", "3d"},
		},
	}
	v := newView(l, 20, 8, Options{ASCII: true})
	v.query = []rune("x0123456789abc")
	want := []string{
		"kshell: (2 of 2)", "search: 23456789abc_", "  NAME", "> web-7c5d...4-24bqk", "  web-7c5d...4-9x2lm", "Esc to cancel",
	}
	if diff := cmp.Diff(want, v.lines()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	for width := 14; width < 120; width++ {
		v := newView(l, width, 8, Options{})
		v.query = []rune(strings.Repeat("q", 200))
		for _, line := range v.lines() {
			if n := utf8.RuneCountInString(line); n > width && line != "Esc to cancel" && line != "kshell: (2 of 2)" {
				t.Errorf("width %d: a line has %d columns: %q", width, n, line)
			}
		}
	}
}
