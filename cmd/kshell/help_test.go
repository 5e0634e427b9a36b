package main

import (
	"regexp"
	"strings"
	"testing"

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
			text := helpOf(t, argsOf(cmd)...)
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
	text := helpOf(t, "exec")
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
	text := helpOf(t)
	for _, name := range []string{"exec", "version", "completion", "help"} {
		if n := len(regexp.MustCompile(`(?m)^  `+name+` +\S`).FindAllString(text, -1)); n != 1 {
			t.Errorf("%s is listed %d times:\n%s", name, n, text)
		}
	}
}

func TestHelp_Width(t *testing.T) {
	const widest = 130
	forEachCommand(newRoot(newTestApp()), func(cmd *cobra.Command) {
		for line := range strings.Lines(helpOf(t, argsOf(cmd)...)) {
			if len(line) > widest {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), len(line), line)
			}
		}
	})
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
