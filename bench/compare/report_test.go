//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFigure_RatioOfPairs(t *testing.T) {
	// The machine became slower during the runs. The ratio of each pair is 0.5.
	f := figure{other: series{10, 20, 30, 40}, kshell: series{5, 10, 15, 20}, limit: 0.5}
	if got := f.ratio(f.kshell, f.other); got != 0.5 || !f.met() {
		t.Errorf("ratio %v, met %v", got, f.met())
	}
	f.limit = 0.49
	if f.met() {
		t.Error("0.5 meets a limit of 0.49")
	}
}

func TestFigure_RatioOfQuantiles(t *testing.T) {
	f := figure{quantile: 0.99, other: series{1, 1, 1, 4}, kshell: series{2, 1, 1, 1}}
	if got := f.ratio(f.kshell, f.other); got != 0.5 {
		t.Errorf("ratio %v", got)
	}
}

func TestReport_Reasons(t *testing.T) {
	if _, err := parseReasons(reasonsText); err != nil {
		t.Fatal(err)
	}
	slow := figure{key: "down/wall", work: "down", unit: milliseconds, other: series{1}, kshell: series{2}, limit: 1}
	text, err := report{began: time.Now(), figures: []figure{slow}}.format()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| 1.00 ms | 2.00 ms | 2.00 | <= 1.00 | no |", "- down (down/wall): "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
}

func TestWriteSection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("before\n"+sectionBegin+"old\n"+sectionEnd+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeSection(path, "new"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if want := "before\n" + sectionBegin + "\nnew\n" + sectionEnd + "after\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	if err := writeSection(filepath.Join("..", "..", "README.md"), ""); err == nil {
		t.Error("a document without the lines was changed")
	}
}
