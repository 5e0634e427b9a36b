package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"kshell/internal/outcome"
	"kshell/internal/remote"
)

// The values of --exact.
const (
	exactAuto   = "auto"
	exactAlways = "always"
	exactNever  = "never"
)

var exactModes = []string{exactAuto, exactAlways, exactNever}

// exactPlan holds the options of exact mode; see internal/exact.
type exactPlan struct {
	mode          string // a value of --exact
	endIfInputCut bool
	keep          bool
}

// planExact checks the flags of exact mode and returns its options. Exact mode
// is not used on a tty, where stdout and stderr are one stream.
func planExact(cmd *cobra.Command, f execFlags, p *execPlan, local terminals) (exactPlan, error) {
	e := exactPlan{mode: f.exact, endIfInputCut: f.exactStdin, keep: f.keep}
	if !cmd.Flags().Changed("exact-stdin") {
		e.endIfInputCut = !local.in
	}
	switch {
	case !slices.Contains(exactModes, f.exact):
		return e, outcome.NewUsageError(
			"unknown --exact "+strconv.Quote(f.exact), "one of "+strings.Join(exactModes, ", "),
		)
	case p.tty && f.exact == exactAlways:
		return e, usage(cmd, "--exact=always is for commands without a tty")
	case f.exact == exactNever && !p.env.empty():
		return e, usage(cmd, "--env and --workdir need a script, which --exact=never does not allow")
	}
	// sh would take a command that begins with "-" for an option.
	p.scripts = f.exact != exactNever && (len(p.command) == 0 || !strings.HasPrefix(p.command[0], "-"))
	if p.tty || !p.scripts {
		e.mode = exactNever
	}
	return e, nil
}

// remoteMode returns the mode for remote.Options.
func (e exactPlan) remoteMode() remote.ExactMode {
	switch e.mode {
	case exactAlways:
		return remote.ExactAlways
	case exactNever:
		return remote.ExactNever
	}
	return remote.ExactAuto
}
