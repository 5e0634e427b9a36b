package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"kshell/internal/outcome"
)

var update = flag.Bool("update", false, "write docs/man, docs/commands.md and the outputs in docs/doctor.md")

// manDir contains the man pages, and commandsFile the help of all commands.
const (
	manDir       = "../../docs/man"
	commandsFile = "../../docs/commands.md"
)

// TestDocs_UpToDate checks that docs/man and docs/commands.md are what the
// commands of kshell produce. "make docs" writes them.
func TestDocs_UpToDate(t *testing.T) {
	want := manPages(t)
	want[commandsFile] = commandsPage()
	files, err := filepath.Glob(manDir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		for _, file := range files {
			if _, ok := want[file]; !ok {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := os.MkdirAll(manDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range want {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	for _, file := range files {
		if _, ok := want[file]; !ok {
			t.Errorf("%s belongs to no command (make docs)", file)
		}
	}
	for file, text := range want {
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("%s does not match the commands of kshell (make docs): %v", file, err)
		}
	}
}

// manPages returns the man pages of all commands by their paths.
func manPages(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	root := newRoot(newTestApp())
	root.DisableAutoGenTag = true // it contains the date
	root.InitDefaultHelpCmd()     // adds kshell's command help, as doc does
	prepareForMarkdown(root)
	date := time.Date(2026, time.December, 1, 0, 0, 0, 0, time.UTC) // printed in the footer
	var all []*cobra.Command
	forEachCommand(root, func(cmd *cobra.Command) {
		if !cmd.Hidden {
			all = append(all, cmd)
		}
	})
	for _, cmd := range all {
		var page bytes.Buffer
		header := doc.GenManHeader{Section: "1", Date: &date, Source: "kshell", Manual: "kshell manual"}
		if err := doc.GenMan(cmd, &header, &page); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(manDir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1")
		pages[file] = manOption.ReplaceAllString(page.String(), ".TP\n$1\n$2")
	}
	return pages
}

// manOption matches an option and its description, which doc.GenMan puts on one
// line. A tagged paragraph (.TP) has the description below the option.
var manOption = regexp.MustCompile(`(?m)^(?:\.PP\n)?(\\fB-.*)\n\t(.*)$`)

// prepareForMarkdown changes the texts of the commands to Markdown, which
// doc.GenMan reads. It adds the exit codes.
func prepareForMarkdown(root *cobra.Command) {
	done := map[*pflag.Flag]bool{}
	forEachCommand(root, func(cmd *cobra.Command) {
		cmd.Long = markdown(cmp.Or(cmd.Long, cmd.Short))
		if cmd.HasParent() {
			cmd.SetHelpCommand(&cobra.Command{Use: "help", Hidden: true}) // doc would add a visible one
		}
		if hasExitCodes(cmd) {
			// The first line ends the code block of the examples.
			cmd.Example += "\n```\n\n# EXIT STATUS\n```\n" + strings.TrimSuffix(outcome.ExitCodes, "\n")
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !done[f] {
				f.Usage = markdownText.Replace(strings.ReplaceAll(f.Usage, "`", "")) // `FILE` is the name of the value
			}
			done[f] = true
		})
	})
}

var markdownText = strings.NewReplacer(
	"\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "<", "\\<", ">", "\\>", "[", "\\[", "]", "\\]", "#", "\\#",
	"|", "\\|", "~", "\\~",
)

// markdown returns text as Markdown. Indented lines are code.
func markdown(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "\t") {
			b.WriteString("\t" + strings.TrimPrefix(line, "\t"))
			continue
		}
		b.WriteString(markdownText.Replace(line))
	}
	return b.String()
}

// commandsPage returns docs/commands.md. The flags that all commands share are
// listed only once.
func commandsPage() string {
	var b strings.Builder
	b.WriteString("# Commands\n\n" +
		"The help of all commands, as `--help-all` prints it. `make docs` writes this page and the man pages\n" +
		"in `docs/man`.\n")
	write := func(title, text string) { fmt.Fprintf(&b, "\n## %s\n\n```\n%s```\n", title, text) }
	root := newRoot(newTestApp())
	forEachCommand(root, func(cmd *cobra.Command) {
		var text strings.Builder
		text.WriteString(strings.TrimSpace(cmp.Or(cmd.Long, cmd.Short)) + "\n")
		section(&text, "Usage", usageLines(cmd))
		section(&text, "Examples", examples(cmd))
		section(&text, "Commands", commands(cmd))
		if cmd.HasParent() {
			section(&text, "Flags", cmd.NonInheritedFlags().FlagUsagesWrapped(columns))
		}
		write(cmd.CommandPath(), text.String())
	})
	own, connection := flagsOf(root)
	write("Flags of all commands", own.FlagUsagesWrapped(columns))
	write("Connection flags of all commands", connection.FlagUsagesWrapped(columns))
	write("Exit codes", outcome.ExitCodes)
	return b.String()
}
