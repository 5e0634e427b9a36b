package main

import (
	"github.com/spf13/cobra"

	"kshell/internal/outcome"
)

// usage returns a usage error whose hint is to print the help of cmd.
func usage(cmd *cobra.Command, message string) error {
	return outcome.NewUsageError(message, cmd.CommandPath()+" --help")
}
