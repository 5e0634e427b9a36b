package main

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// waitFlags say how long to wait for a container that does not run yet.
type waitFlags struct{ running time.Duration }

// runningTimeout is kubectl's default.
const runningTimeout = time.Minute

func (f *waitFlags) addTo(flags *pflag.FlagSet) {
	flags.DurationVar(&f.running, "pod-running-timeout", runningTimeout, "wait so long for the container to run; 0, and the default with --all: do not wait")
}

// check finds what cannot be meant.
func (f *waitFlags) check(cmd *cobra.Command) error {
	return notNegative(cmd, "pod-running-timeout", f.running)
}
