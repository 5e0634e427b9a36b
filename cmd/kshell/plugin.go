package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// The names under which the program is something else than kshell.
const (
	pluginName    = "kubectl-kshell"          // a plugin: kubectl kshell …
	completerName = "kubectl_complete-kshell" // asked by kubectl for the completion of that
)

// calledAs is what the user types for the program, and its arguments, from those of the process.
func calledAs(argv []string) (name string, args []string) {
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

// completing says whether the arguments are the question of a shell, what can be typed next.
func completing(args []string) bool {
	return len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
}
