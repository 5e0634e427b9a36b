// Package docs_test checks the documents of the repository: that links lead to
// files and headings that exist, and that the tests, files and identifiers that
// are named exist.
package docs_test

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// root is the directory of the repository.
var root = filepath.Join("..", "..")

// document is a Markdown file.
type document struct {
	name string // the path in the repository, with slashes
	text string // the text without code blocks
	code string // the code blocks
}

// documents returns the Markdown files of the repository.
func documents(t *testing.T) []document {
	t.Helper()
	var all []document
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata" || entry.Name() == "dist") {
			return fs.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".md" {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		doc := document{name: filepath.ToSlash(rel)}
		doc.text, doc.code = splitCode(string(data))
		all = append(all, doc)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d documents were found", len(all))
	}
	return all
}

// splitCode separates the lines of the code blocks of a document, fenced or
// indented by four spaces, from the other lines. A line of a list may be
// indented by less.
func splitCode(markdown string) (text, code string) {
	fenced, blank, indented := false, true, false
	for line := range strings.Lines(markdown) {
		trimmed := strings.TrimSpace(line)
		fence := strings.HasPrefix(trimmed, "```")
		indented = strings.HasPrefix(line, "    ") && (blank || indented)
		blank = trimmed == "" && !fenced
		switch {
		case fence:
			fenced = !fenced
		case fenced || indented:
			code += line
		default:
			text += line
		}
	}
	return text, code
}

func TestSplitCode(t *testing.T) {
	text, code := splitCode("a\n\n    b\n\n```\nc\n```\n- d\n    e\n")
	if text != "a\n\n\n- d\n    e\n" || code != "    b\nc\n" {
		t.Errorf("text %q, code %q", text, code)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	inLink  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// anchors returns the anchors of the headings of a document, as GitHub makes
// them.
func anchors(doc document) map[string]bool {
	all := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(doc.text, -1) {
		all[anchor(match[1])] = true
	}
	return all
}

// anchor returns the anchor of a heading.
func anchor(title string) string {
	title = inLink.ReplaceAllString(title, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(title))
}

func TestAnchor(t *testing.T) {
	for title, want := range map[string]string{
		"The pod ends": "the-pod-ends", "Keys after ~": "keys-after-", "`exec --resume`": "exec---resume",
		"coder/websocket": "coderwebsocket", "See [a b](c.md)": "see-a-b",
	} {
		if got := anchor(title); got != want {
			t.Errorf("anchor(%q) = %q, want %q", title, got, want)
		}
	}
}

// TestLinks checks each link to a file of the repository, and to a heading.
func TestLinks(t *testing.T) {
	byName := map[string]document{}
	for _, doc := range documents(t) {
		byName[doc.name] = doc
	}
	for _, doc := range byName {
		for _, match := range link.FindAllStringSubmatch(doc.text, -1) {
			target, err := url.Parse(match[1])
			if err != nil || target.IsAbs() {
				continue
			}
			name := doc.name
			if target.Path != "" {
				name = path.Join(path.Dir(doc.name), target.Path)
			}
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
				t.Errorf("%s: link to %s: %v", doc.name, match[1], err)
				continue
			}
			if target.Fragment != "" && !anchors(byName[name])[target.Fragment] {
				t.Errorf("%s: link to %s: the document has no such heading", doc.name, match[1])
			}
		}
	}
}
