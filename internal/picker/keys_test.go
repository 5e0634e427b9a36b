package picker

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKeyLength(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]int{
		"":               0,
		"a":              1,
		"ab":             1,
		"ä":              2,
		"\xc3":           0, // the first byte of ä
		"\r":             1,
		"\x1b":           0, // Esc, or the first byte of a sequence
		"\x1b\x1b[A":     1,
		"\x1b[":          0,
		"\x1b[A":         3,
		"\x1b[1;5A":      6,
		"\x1bO":          0,
		"\x1bOAb":        3,
		"\x1b[5~x":       4,
		"\x1ba":          2, // Alt-A
		"\x1b]11;?":      0,
		"\x1b]11;?\aabc": 7,
	} {
		if got := keyLength([]byte(input)); got != want {
			t.Errorf("%q: %d, want %d", input, got, want)
		}
	}
}

// keysOf splits input into keys.
func keysOf(input string) (keys []string) {
	for n := keyLength([]byte(input)); n > 0; n = keyLength([]byte(input)) {
		keys = append(keys, input[:n])
		input = input[n:]
	}
	return keys
}

func TestViewPress(t *testing.T) {
	t.Parallel()
	type result struct {
		Query    string
		Selected int
		Closed   bool
		Canceled bool
	}
	for input, want := range map[string]result{
		"\x1b[B":                 {Selected: 1},
		"\x1bOB\x0e\t":           {Selected: 2}, // there are three rows
		"\x1b[B\x1b[A":           {},
		"\x1b[B\x0e\x10\x1b[Z":   {},
		"\x1b[A":                 {},
		"\x1b[F":                 {Selected: 2},
		"\x1b[4~\x1b[1~":         {},
		"\x1b[6~":                {Selected: 2}, // two rows are a page
		"\x1b[6~\x1b[5~":         {},
		"ap\r":                   {Query: "ap", Closed: true},
		"Äx\x7f":                 {Query: "Ä"},
		"ab\x15c":                {Query: "c"},
		"x\r":                    {Query: "x"}, // no row matches
		"\n":                     {Closed: true},
		"\x03":                   {Closed: true, Canceled: true},
		"\x04":                   {Closed: true, Canceled: true},
		"\x1b\x1b":               {Closed: true, Canceled: true},
		"\x1ba\x1b[1;5A\x1b[?1u": {}, // ignored
	} {
		v, got := newView(threeRows(), 40, 6, Options{}), result{}
		for _, key := range keysOf(input) {
			got.Closed = v.press(key)
			if got.Closed {
				break
			}
		}
		got.Query, got.Selected, got.Canceled = string(v.query), v.selected, v.canceled
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", input, diff)
		}
	}
}

func TestViewFrame_FitsScreen(t *testing.T) {
	t.Parallel()
	got := newView(threeRows(), 10, 4, Options{}).frame()
	want := "\x1b[H\x1b[K (3 of 3)\r\n\x1b[Ksearch: _\r\n\x1b[K  NAME\r\n\x1b[J> api-1"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("frame (-want +got):\n%s", diff)
	}
}
