package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// every calls f for a command and all below it.
func every(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, c := range cmd.Commands() {
		every(c, f)
	}
}

func wordsOf(cmd *cobra.Command) []string { return strings.Fields(cmd.CommandPath())[1:] }

func TestHelpHasEveryFlagOnce(t *testing.T) {
	a := newApp()
	root := newRoot(a)
	every(root, func(cmd *cobra.Command) {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			text := helpOf(t, wordsOf(cmd)...)
			flags := 0
			count := func(f *pflag.Flag) {
				flags++
				line := regexp.MustCompile(`(?m)^ +(-\w, )?--` + f.Name + `( |$)`)
				want := 1
				if slices.Contains(idle, f.Name) { // it would only mislead
					want = 0
				}
				if n := len(line.FindAllString(text, -1)); n != want {
					t.Errorf("--%s stands there %d times:\n%s", f.Name, n, text)
				}
			}
			cmd.LocalFlags().VisitAll(count)
			cmd.InheritedFlags().VisitAll(count)
			if flags < 15 {
				t.Errorf("only %d flags were looked for", flags)
			}
		})
	})
}

func TestOwnFlagsAreNotLostAmongThoseOfTheConnection(t *testing.T) {
	text := helpOf(t, "exec")
	last := -1
	for _, in := range []string{
		"\nUsage:\n", "\nExamples:\n", "\nFlags:\n", "--container", "--stdin", "--subprotocol", "--tty", "--quiet", "--verbose",
		"\nConnection flags, as kubectl has them:\n", "--kubeconfig", "--namespace", "\nExit codes:\n",
	} {
		at := strings.Index(text, in)
		if at < 0 {
			t.Errorf("there is no %q", in)
		} else if at < last {
			t.Errorf("%q comes too early", in)
		}
		last = max(last, at)
	}
}

func TestRootHelpHasEveryCommand(t *testing.T) {
	text := helpOf(t)
	for _, name := range []string{"exec", "version", "completion", "help"} {
		if n := len(regexp.MustCompile(`(?m)^  `+name+` +\S`).FindAllString(text, -1)); n != 1 {
			t.Errorf("%s stands there %d times:\n%s", name, n, text)
		}
	}
}

func TestHelpFitsATerminal(t *testing.T) {
	const widest = 130
	every(newRoot(newApp()), func(cmd *cobra.Command) {
		for line := range strings.Lines(helpOf(t, wordsOf(cmd)...)) {
			if len(line) > widest {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), len(line), line)
			}
		}
	})
}

// Every example can be typed as it stands.
func TestTheExamplesParse(t *testing.T) {
	examples := 0
	every(newRoot(newApp()), func(cmd *cobra.Command) {
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
