package picture

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/kshell.svg")

// svgFile is the picture in README.md, and castFile the recording that it
// shows.
const (
	svgFile  = "../../docs/kshell.svg"
	castFile = "../../docs/kshell.cast"
)

// TestSVG_UpToDate checks that the picture is rendered from the recording.
// "make docs" writes both.
func TestSVG_UpToDate(t *testing.T) {
	file, err := os.ReadFile(castFile)
	if err != nil {
		t.Fatal(err)
	}
	cast, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	got := cast.SVG()
	if *update {
		if err := os.WriteFile(svgFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want, err := os.ReadFile(svgFile); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not the picture of %s (make docs): %v", svgFile, castFile, err)
	}
	checkFile(t, got)
}

// checkFile checks that a browser can show the picture in a page: it is XML, not
// large, and needs neither scripts nor other files.
func checkFile(t *testing.T, svg []byte) {
	t.Helper()
	if len(svg) > 150_000 {
		t.Errorf("%d bytes", len(svg))
	}
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && (e.Name.Local == "script" || e.Name.Local == "image") {
			t.Errorf("it has the element %s", e.Name.Local)
		}
	}
}

func TestCast_RoundTrip(t *testing.T) {
	want := &Cast{Width: 80, Height: 24, Title: "a <title>", Events: []Event{
		{0.5, Output, "\x1b[7mé\r\n"}, {1.25, Marker, "what follows"},
	}}
	file, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{
		"", "{}", `{"version":3,"width":1,"height":1}`, string(file) + "[1]x\n", string(file) + "\n",
	} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("Parse(%q) has no error", bad)
		}
	}
}

// A text that is typed is shown by one element for each key. It is hidden when
// the screen is cleared, and the status line is reversed.
func TestCast_Segments(t *testing.T) {
	c := &Cast{Width: 20, Height: 3, Events: []Event{
		{1, Output, "$ "},
		{2, Output, "l"},
		{3, Output, "s"},
		{4, Marker, "not on the screen"},
		{5, Output, "\x1b[2J\x1b[H\x1b[7m a b \x1b[m"},
	}}
	type shown struct {
		Row, Column int
		Text        string
		Reverse     bool
		Begin, End  float64
	}
	var got []shown
	for _, s := range c.segments(9) {
		got = append(got, shown{s.row, s.column, s.text(), s.cells[0].reverse, s.begin, s.end})
	}
	want := []shown{
		{0, 0, "$", false, 1, 5},
		{0, 2, " ", true, 1, 2}, // the cursor
		{0, 2, "l", false, 2, 5},
		{0, 3, " ", true, 2, 3},
		{0, 3, "s", false, 3, 5},
		{0, 4, " ", true, 3, 9}, // the cursor, and then the end of the status line
		{0, 0, " a b", true, 5, 9},
		{0, 5, " ", true, 5, 9}, // the cursor
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A viewer without animations shows the last screen.
func TestCast_LastScreen(t *testing.T) {
	c := &Cast{Width: 20, Height: 3, Events: []Event{
		{0, Marker, "first"}, {0, Output, "one"}, {1, Marker, "<last>"}, {1, Output, "\x1b[2J\x1b[Htwo & three"},
	}}
	svg := string(c.SVG())
	visible := strings.Join(regexp.MustCompile(`<g style.*</g>`).FindAllString(svg, -1), "")
	var texts []string
	for _, m := range regexp.MustCompile(`<text[^>]*>([^<]*)</text>`).FindAllStringSubmatch(visible, -1) {
		texts = append(texts, m[1])
	}
	if diff := cmp.Diff([]string{"two &amp; three", "&lt;last&gt;"}, texts); diff != "" {
		t.Errorf("%s\n%s", diff, svg)
	}
}
