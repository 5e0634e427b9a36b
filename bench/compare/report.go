//go:build linux

package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// reasonsText has a line "KEY: TEXT" for each ratio that is known to be larger
// than required. Lines that begin with # are comments.
//
//go:embed reasons.txt
var reasonsText string

// report is what is written to the document.
type report struct {
	began   time.Time
	busy    bool // -busy was given
	machine []string
	figures []figure
}

// format returns the report as Markdown.
func (r report) format() (string, error) {
	reasons, err := parseReasons(reasonsText)
	if err != nil {
		return "", err
	}
	var t strings.Builder
	fmt.Fprintf(&t, "Measured on %s by `make bench`:\n\n", r.began.UTC().Format(time.DateOnly))
	for _, line := range r.machine {
		fmt.Fprintf(&t, "- %s\n", line)
	}
	if r.busy {
		t.WriteString("- other programs ran on the machine at the same time (`-busy`)\n")
	}
	t.WriteString("\n| work | runs | kubectl | kshell | ratio | required | met | bare client | bare/kshell |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	var unmet []figure
	for _, f := range r.figures {
		t.WriteString(f.row())
		if !f.met() {
			unmet = append(unmet, f)
		}
	}
	if len(unmet) > 0 {
		t.WriteString("\nNot met:\n\n")
	}
	for _, f := range unmet {
		reason := reasons[f.key]
		if reason == "" {
			reason = "no reason is recorded in bench/compare/reasons.txt"
		}
		fmt.Fprintf(&t, "- %s (%s): %s\n", f.work, f.key, reason)
	}
	return t.String(), nil
}

// row returns the figure as a row of the table.
func (f figure) row() string {
	other := f.unit(f.value(f.other))
	if f.otherIs != "" {
		other = f.otherIs + " " + other
	}
	required, met := "", ""
	if f.limit > 0 {
		required, met = fmt.Sprintf("<= %.2f", f.limit), "no"
		if f.met() {
			met = "yes"
		}
	}
	bare, fraction := "", ""
	if len(f.bare) > 0 {
		bare, fraction = f.unit(f.value(f.bare)), fmt.Sprintf("%.2f", f.ratio(f.bare, f.kshell))
	}
	return fmt.Sprintf("| %s | %d | %s | %s | %.2f | %s | %s | %s | %s |\n", f.work, f.runs, other,
		f.unit(f.value(f.kshell)), round(f.ratio(f.kshell, f.other)), required, met, bare, fraction)
}

// parseReasons returns the reasons by the keys of figures.
func parseReasons(text string) (map[string]string, error) {
	reasons := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason, found := strings.Cut(line, ": ")
		if !found {
			return nil, fmt.Errorf("reasons.txt: no key in the line %q", line)
		}
		reasons[key] = reason
	}
	return reasons, nil
}

// The lines in the document between which the report is written.
const (
	sectionBegin = "<!-- make bench writes from here -->\n"
	sectionEnd   = "<!-- to here -->\n"
)

// writeSection replaces the report in a document.
func writeSection(path, text string) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(doc), sectionBegin)
	_, after, foundEnd := strings.Cut(rest, sectionEnd)
	if !found || !foundEnd {
		return fmt.Errorf("%s lacks the lines %q and %q", path, sectionBegin, sectionEnd)
	}
	f, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(before + sectionBegin + "\n" + text + "\n" + sectionEnd + after)
	return errors.Join(err, f.Close())
}
