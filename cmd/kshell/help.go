package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/kubeconfig"
	"kshell/internal/outcome"
)

// help prints the help of cmd. It does not use cobra's templates, which would
// add 3 MiB to the binary.
func help(cmd *cobra.Command, _ []string) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage:\n", strings.TrimSpace(cmp.Or(cmd.Long, cmd.Short)))
	switch {
	case cmd.HasAvailableSubCommands():
		if cmd.Runnable() && cmd.HasParent() && strings.Contains(cmd.Use, "[-- COMMAND") {
			fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
		}
		fmt.Fprintf(&b, "  %s COMMAND [flags]\n", cmd.CommandPath())
	default:
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	section(&b, "Examples", strings.ReplaceAll(cmd.Example, "kshell ", cmd.Root().DisplayName()+" "))
	section(&b, "Commands", commands(cmd))
	own, connection := flagsOf(cmd)
	section(&b, "Flags", own.FlagUsagesWrapped(columns))
	section(&b, "Connection flags (as in kubectl)", connection.FlagUsagesWrapped(columns))
	if cmd.Name() == "exec" || cmd.Name() == "node-shell" || !cmd.HasParent() {
		section(&b, "Exit codes", outcome.ExitCodes)
	}
	fmt.Fprint(cmd.OutOrStdout(), b.String())
}

// columns is the width of the list of flags.
const columns = 110

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
