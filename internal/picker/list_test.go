package picker

import (
	"slices"
	"strings"
	"testing"

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
		v := newView(threeRows(), 40, 6, false)
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
	lines := newView(l, 40, 6, false).lines() // two rows fit
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
	_, rows := l.format(60)
	if diff := cmp.Diff([]string{"long-long-long…-long-long-end  0/2    Running  0         ?"}, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
