package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/outcome"
)

func TestExitCodes_HelpAndReadme(t *testing.T) {
	want := rowsOf(outcome.ExitCodes)
	if len(want) < 7 {
		t.Fatalf("ExitCodes has only %d rows", len(want))
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Error(err)
	}
	tables := map[string]string{
		"README.md":              string(readme),
		"kshell --help-all":      wholeHelpOf(t),
		"kshell exec --help-all": wholeHelpOf(t, "exec"),
	}
	for where, text := range tables {
		if diff := cmp.Diff(want, rowsOf(text)); diff != "" {
			t.Errorf("%s (-ExitCodes +there):\n%s", where, diff)
		}
	}
}

// row matches a number, a range such as 1-254 or 128+n, then spaces and a text.
var row = regexp.MustCompile(`^\d[\d+n-]*\s{2,}\S`)

// rowsOf returns the rows of the exit code table in text. The first row is that
// of exit code 0.
func rowsOf(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	first := slices.IndexFunc(lines, func(l string) bool { return row.MatchString(l) && l[0] == '0' })
	if first < 0 {
		return nil
	}
	lines = lines[first:]
	if end := slices.IndexFunc(lines, func(l string) bool { return !row.MatchString(l) }); end >= 0 {
		lines = lines[:end]
	}
	return lines
}

// helpOf returns what COMMAND --help prints.
func helpOf(t *testing.T, command ...string) string {
	t.Helper()
	return outputOf(t, append(command, "--help")...)
}

// wholeHelpOf returns what COMMAND --help-all prints.
func wholeHelpOf(t *testing.T, command ...string) string {
	t.Helper()
	return outputOf(t, append(command, "--help-all")...)
}

// outputOf returns what kshell prints for args.
func outputOf(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	a := newTestApp()
	a.printed = &errWriter{Writer: &out}
	root := newRoot(a)
	root.SetArgs(args)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
