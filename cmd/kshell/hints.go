package main

import (
	"strings"

	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/script"
)

// connectionFlags adds the flags -n and --context of kshell's own command line
// to the commands in hints.
type connectionFlags struct {
	program string // kshell, or kubectl kshell
	flags   *kubeconfig.Flags
}

var _ notice.Commands = connectionFlags{}

// Complete implements notice.Commands. It does not add a flag that the command
// already has. It does not add -n to commands of kubectl, because some of them
// need no namespace: hints contain the -n that such a command needs.
func (c connectionFlags) Complete(command string) string {
	commands := strings.Split(command, " && ")
	for i, one := range commands {
		own := strings.HasPrefix(one, c.program+" ")
		kubectl := strings.HasPrefix(one, "kubectl ") && !own
		if own && !strings.Contains(one+" ", " -A ") { // -A means all namespaces
			one = addFlag(one, "-n", c.flags.Namespace)
		}
		if own || kubectl && !strings.HasPrefix(one, "kubectl config set-") {
			one = addFlag(one, "--context", c.flags.Context)
		}
		commands[i] = one
	}
	return strings.Join(commands, " && ")
}

// addFlag adds a flag to a command of kubectl or kshell, before the arguments
// that follow --. If value is "", or the command has the flag, it returns the
// command unchanged.
func addFlag(command, flag, value string) string {
	flags, rest := command, ""
	if i := strings.Index(command+" ", " -- "); i >= 0 {
		flags, rest = command[:i], command[i:]
	}
	if value == "" || strings.Contains(flags+" ", " "+flag+" ") {
		return command
	}
	return flags + " " + flag + " " + script.Quote(value) + rest
}
