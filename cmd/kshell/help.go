package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/kubeconfig"
	"kshell/internal/outcome"
)

// helpFlags are the flags --help and --help-all.
type helpFlags struct{ wanted, all bool }

const helpAllFlag = "help-all"

func (f *helpFlags) addTo(flags *pflag.FlagSet) {
	flags.BoolVarP(&f.wanted, "help", "h", false, "print the help, with the flags that are used most")
	flags.Lookup("help").Annotations = map[string][]string{cobra.FlagSetByCobraAnnotation: {"true"}}
	flags.Var((*helpAllValue)(f), helpAllFlag, "print the whole help, with all flags")
	flags.Lookup(helpAllFlag).NoOptDefVal = "true"
}

// helpAllValue is the value of --help-all. It also sets --help, so cobra prints
// the help instead of running the command.
type helpAllValue helpFlags

// Set implements pflag.Value.
func (v *helpAllValue) Set(text string) error {
	all, err := strconv.ParseBool(text)
	v.wanted, v.all = all, all
	return err
}

// String implements pflag.Value.
func (v *helpAllValue) String() string { return strconv.FormatBool(v.all) }

// Type implements pflag.Value.
func (v *helpAllValue) Type() string { return "bool" }

// show prints the help of cmd. It does not use cobra's templates, which would
// add 3 MiB to the binary.
func (f *helpFlags) show(cmd *cobra.Command, _ []string) {
	text := shortHelp(cmd)
	if f.all {
		text = wholeHelp(cmd)
	}
	fmt.Fprint(cmd.OutOrStdout(), text)
}

// commonFlags is the key of an annotation of a command: the flags that its
// --help lists, in groups. Each group is a section. The command's --help then
// begins with the command's Short instead of its Long.
const commonFlags = "common flags"

// connectionGroup is the last group of commonFlags.
const connectionGroup = `
Connection:
  -n, --namespace NAME     namespace (default: that of the context)
      --context NAME       context of the kubeconfig
      --kubeconfig FILE    kubeconfig (default: KUBECONFIG, or ~/.kube/config)
      --headlamp URL       connect through a Headlamp server
`

// shortHelp returns the help of cmd that fits on a screen. Examples come first.
func shortHelp(cmd *cobra.Command) string {
	var b strings.Builder
	common := cmd.Annotations[commonFlags]
	if common != "" {
		b.WriteString(cmd.Short + ".\n")
	} else {
		b.WriteString(strings.TrimSpace(cmp.Or(cmd.Long, cmd.Short)) + "\n")
		common = "\nFlags:\n" + cmd.NonInheritedFlags().FlagUsagesWrapped(screenColumns)
	}
	section(&b, "Examples", examples(cmd))
	section(&b, "Usage", usageLines(cmd))
	section(&b, "Commands", commands(cmd))
	if !strings.HasSuffix(common, ":\n") {
		b.WriteString(common)
	}
	more := "All flags"
	switch {
	case hasExitCodes(cmd):
		more = "All flags, details and exit codes"
	case cmd.Long != "" && cmd.Annotations[commonFlags] != "":
		more = "All flags and details"
	}
	b.WriteString("\n")
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "Help for a command: %s COMMAND --help\n", cmd.CommandPath())
	}
	fmt.Fprintf(&b, "%s: %s --%s\n", more, cmd.CommandPath(), helpAllFlag)
	return b.String()
}

// wholeHelp returns the help of cmd with all flags.
func wholeHelp(cmd *cobra.Command) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(cmp.Or(cmd.Long, cmd.Short)) + "\n")
	section(&b, "Usage", usageLines(cmd))
	section(&b, "Examples", examples(cmd))
	section(&b, "Commands", commands(cmd))
	own, connection := flagsOf(cmd)
	section(&b, "Flags", own.FlagUsagesWrapped(columns))
	section(&b, "Connection flags (as in kubectl)", connection.FlagUsagesWrapped(columns))
	if hasExitCodes(cmd) {
		section(&b, "Exit codes", outcome.ExitCodes)
	}
	return b.String()
}

// hasExitCodes reports whether the help of cmd has the table of exit codes.
func hasExitCodes(cmd *cobra.Command) bool {
	return cmd.Name() == "exec" || cmd.Name() == "node-shell" || !cmd.HasParent()
}

// usageLines returns the lines of the section Usage.
func usageLines(cmd *cobra.Command) string {
	if !cmd.HasAvailableSubCommands() {
		return "  " + cmd.UseLine()
	}
	lines := "  " + cmd.CommandPath() + " COMMAND [flags]"
	if cmd.Runnable() && cmd.HasParent() && strings.Contains(cmd.Use, "[-- COMMAND") {
		lines = "  " + cmd.UseLine() + "\n" + lines
	}
	return lines
}

// examples returns the examples of cmd as the user types them: as commands of
// kshell, or of kubectl kshell.
func examples(cmd *cobra.Command) string {
	return strings.ReplaceAll(cmd.Example, "kshell ", cmd.Root().DisplayName()+" ")
}

// The widths of the list of flags of --help-all and of --help.
const (
	columns       = 110
	screenColumns = 80
)

// section writes a section, unless text is empty.
func section(b *strings.Builder, title, text string) {
	if text != "" {
		fmt.Fprintf(b, "\n%s:\n%s\n", title, strings.TrimRight(text, "\n"))
	}
}

// commands returns a line for each subcommand of cmd.
func commands(cmd *cobra.Command) string {
	var b strings.Builder
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			fmt.Fprintf(&b, "  %-*s %s\n", cmd.NamePadding(), c.Name(), c.Short)
		}
	}
	return b.String()
}

// flagsOf returns the flags of cmd in two sets: own has the flags of kshell,
// connection has the flags that are the same in kubectl. A flag of kshell that
// has the name of a hidden flag of kubectl is in own.
func flagsOf(cmd *cobra.Command) (own, connection *pflag.FlagSet) {
	var kube kubeconfig.Flags
	var kubectl kubectlFlags
	connection, own = pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	kube.AddTo(connection)
	kubectl.addTo(connection)
	own.SortFlags = false
	for _, set := range []*pflag.FlagSet{cmd.LocalFlags(), cmd.InheritedFlags()} {
		set.VisitAll(func(f *pflag.Flag) {
			if other := connection.Lookup(f.Name); other == nil || other.Hidden && !f.Hidden {
				own.AddFlag(f)
			}
		})
	}
	return own, connection
}
