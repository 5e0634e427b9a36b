package main

import (
	"fmt"
	"runtime"
	"strconv"

	"github.com/spf13/cobra"
)

// version is set by the Makefile from the git tag.
var version = "dev"

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "kshell %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}

// noArgs returns an error if there is an argument.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, "unexpected argument "+strconv.Quote(args[0]))
	}
	return nil
}
