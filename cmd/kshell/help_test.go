package main

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// forEachCommand calls f for cmd and all its subcommands.
func forEachCommand(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, c := range cmd.Commands() {
		forEachCommand(c, f)
	}
}

// argsOf returns the arguments that select cmd, without the name of the
// program.
func argsOf(cmd *cobra.Command) []string { return strings.Fields(cmd.CommandPath())[1:] }

func TestHelp_EachFlagOnce(t *testing.T) {
	a := newTestApp()
	root := newRoot(a)
	forEachCommand(root, func(cmd *cobra.Command) {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			text := wholeHelpOf(t, argsOf(cmd)...)
			flags := 0
			count := func(f *pflag.Flag) {
				flags++
				line := regexp.MustCompile(`(?m)^ +(-\w, )?--` + f.Name + `( |$)`)
				want := 1
				if f.Hidden {
					want = 0
				}
				if n := len(line.FindAllString(text, -1)); n != want {
					t.Errorf("--%s is listed %d times, want %d:\n%s", f.Name, n, want, text)
				}
			}
			cmd.LocalFlags().VisitAll(count)
			cmd.InheritedFlags().VisitAll(count)
			if flags < 15 {
				t.Errorf("only %d flags were checked", flags)
			}
		})
	})
}

func TestHelp_OwnFlagsFirst(t *testing.T) {
	text := wholeHelpOf(t, "exec")
	last := -1
	for _, in := range []string{
		"\nUsage:\n", "\nExamples:\n", "\nFlags:\n",
		"--container", "--stdin", "--subprotocol", "--tty", "--quiet", "--verbose",
		"\nConnection flags (as in kubectl):\n", "--kubeconfig", "--namespace", "\nExit codes:\n",
	} {
		at := strings.Index(text, in)
		if at < 0 {
			t.Errorf("%q is missing", in)
		} else if at < last {
			t.Errorf("%q is not in order", in)
		}
		last = max(last, at)
	}
}

func TestHelp_EachCommandOnce(t *testing.T) {
	text := wholeHelpOf(t)
	for _, name := range []string{"exec", "version", "completion", "help"} {
		if n := len(regexp.MustCompile(`(?m)^  `+name+` +\S`).FindAllString(text, -1)); n != 1 {
			t.Errorf("%s is listed %d times:\n%s", name, n, text)
		}
	}
}

func TestHelp_Width(t *testing.T) {
	const widest = 130
	forEachCommand(newRoot(newTestApp()), func(cmd *cobra.Command) {
		for line := range strings.Lines(wholeHelpOf(t, argsOf(cmd)...)) {
			if len(line) > widest {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), len(line), line)
			}
		}
	})
}

// TestHelp_OneScreen checks that --help fits on a screen of 80 columns and 40
// lines. The texts for completion are those of cobra.
func TestHelp_OneScreen(t *testing.T) {
	forEachCommand(newRoot(newTestApp()), func(cmd *cobra.Command) {
		text, widest := helpOf(t, argsOf(cmd)...), 80
		if strings.HasPrefix(cmd.CommandPath(), "kshell completion ") {
			widest = 100
		}
		if n := strings.Count(text, "\n"); n > 40 {
			t.Errorf("%s: %d lines:\n%s", cmd.CommandPath(), n, text)
		}
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > widest {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), n, line)
			}
		}
		if more := cmd.CommandPath() + " --help-all\n"; !strings.HasSuffix(text, ": "+more) {
			t.Errorf("%s: the last line does not name --help-all:\n%s", cmd.CommandPath(), text)
		}
	})
}

// TestHelp_CommonFlags checks that the flags that --help lists exist, and that
// those with a value are listed with one. A flag whose value may be omitted can
// be listed without it.
func TestHelp_CommonFlags(t *testing.T) {
	listed := regexp.MustCompile(`(?m)^  (?:-(\w), |    )--([\w-]+)( [A-Z][A-Z=]*)?  +\S`)
	forEachCommand(newRoot(newTestApp()), func(cmd *cobra.Command) {
		text := cmd.Annotations[commonFlags]
		if lines := strings.Count(text, "\n  "); len(listed.FindAllString(text, -1)) != lines {
			t.Errorf("%s: %d lines, but %q", cmd.CommandPath(), lines, listed.FindAllString(text, -1))
		}
		cmd.InitDefaultVersionFlag()
		for _, line := range listed.FindAllStringSubmatch(text, -1) {
			f := cmd.Flag(line[2])
			if f == nil || f.Hidden || f.Shorthand != line[1] || (f.NoOptDefVal == "") != (line[3] != "") {
				t.Errorf("%s: %q does not match the flag %+v", cmd.CommandPath(), line[0], f)
			}
		}
	})
}

// TestHelp_All checks the ways to request the whole help.
func TestHelp_All(t *testing.T) {
	whole := wholeHelpOf(t, "exec")
	for _, args := range [][]string{
		{"exec", "web", "--help-all"},
		{"exec", "--help-all", "--help"},
		{"exec", "-h", "--help_all"},
		{"--help-all", "exec"},
		{"exec", "--help-all=true", "web"},
	} {
		if got := outputOf(t, args...); got != whole {
			t.Errorf("%q: got %q", args, got)
		}
	}
	if outputOf(t, "version", "--help-all=false") == wholeHelpOf(t, "version") {
		t.Error("--help-all=false prints the whole help")
	}
}

func TestHelp_ExamplesParse(t *testing.T) {
	examples := 0
	forEachCommand(newRoot(newTestApp()), func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			_, typed, ok := strings.Cut(line, "kshell exec ")
			if !ok {
				continue
			}
			examples++
			typed, _, _ = strings.Cut(typed, "   ")
			if plan, err := planOf(t, onTerminal, strings.Fields(typed)...); err != nil {
				t.Errorf("%q: %v (%+v)", line, err, plan)
			}
		}
	})
	if examples < 4 {
		t.Errorf("only %d examples were found", examples)
	}
}
