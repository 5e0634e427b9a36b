package main

import (
	"time"

	"github.com/spf13/pflag"
)

// waitFlags set how long to wait for a container that is not running yet.
type waitFlags struct{ runningTimeout time.Duration }

// runningTimeoutDefault is the same as in kubectl.
const runningTimeoutDefault = time.Minute

func (f *waitFlags) addTo(flags *pflag.FlagSet) {
	flags.DurationVar(&f.runningTimeout, "pod-running-timeout", runningTimeoutDefault,
		"how long to wait until the container is running; 0, which is the default with --all, means not to wait")
}

// check returns a usage error for a negative timeout.
func (f *waitFlags) check() error {
	return notNegative("pod-running-timeout", f.runningTimeout)
}
