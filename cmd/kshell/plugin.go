package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// The file names by which kubectl calls kshell.
const (
	pluginName    = "kubectl-kshell"          // for "kubectl kshell"
	completerName = "kubectl_complete-kshell" // for the completion of "kubectl kshell"
)

// parseArgv returns what the user types to call the program, which is kshell or
// kubectl kshell, and the arguments after that. argv is os.Args: its first
// element is the file name of the program.
func parseArgv(argv []string) (name string, args []string) {
	name = "kshell"
	if len(argv) == 0 {
		return name, nil
	}
	args = argv[1:]
	switch strings.TrimSuffix(filepath.Base(argv[0]), ".exe") {
	case pluginName:
		return "kubectl kshell", args
	case completerName:
		return "kubectl kshell", append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	return name, args
}

// isCompletion reports whether args are a shell's request for completions.
func isCompletion(args []string) bool {
	return len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
}
