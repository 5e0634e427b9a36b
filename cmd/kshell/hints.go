package main

import (
	"strings"

	"kshell/internal/kinds"
	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/script"
)

// connectionFlags adds the flags -n, --context, and those for a Headlamp
// server, TLS and proxies of kshell's own command line to the commands in
// hints.
type connectionFlags struct {
	program  string // kshell, or kubectl kshell
	flags    *kubeconfig.Flags
	headlamp *headlampFlags
}

var _ notice.Commands = connectionFlags{}

// kubectlNote follows a hint with a command of kubectl if kshell uses a Headlamp
// server.
const kubectlNote = "kubectl does not use the Headlamp server: it needs a kubeconfig for the API server of the cluster"

// Complete implements notice.Commands. It does not add a flag that the command
// already has. It does not add -n to commands of kubectl, because some of them
// need no namespace: hints contain the -n that such a command needs. If kshell
// uses a Headlamp server, Complete replaces a command of kubectl by one of
// kshell if there is one, and otherwise returns a note.
func (c connectionFlags) Complete(command string) (completed, note string) {
	var all []string
	for rest, more := command, true; more; {
		var one string
		one, rest, more = cutUnquoted(rest, " && ")
		if c.headlamp.used && c.isKubectl(one) {
			one = c.replaceKubectl(one)
			if c.isKubectl(one) { // there is no such command of kshell
				all, note = append(all, one), kubectlNote
				continue
			}
		}
		all = append(all, c.complete(one))
	}
	return strings.Join(all, " && "), note
}

// isKubectl reports whether a command is one of kubectl, and not of kshell as a
// plugin of kubectl, and sends requests to the server.
func (c connectionFlags) isKubectl(command string) bool {
	return strings.HasPrefix(command, "kubectl ") && !strings.HasPrefix(command, c.program+" ") &&
		!strings.HasPrefix(command, "kubectl config ")
}

// complete adds the flags to a single command, without " && ".
func (c connectionFlags) complete(one string) string {
	own := strings.HasPrefix(one, c.program+" ")
	kubectl := strings.HasPrefix(one, "kubectl ") && !own
	if own && !hasFlag(one, "-A") { // -A means all namespaces
		one = addFlag(one, "-n", c.flags.Namespace)
	}
	if own {
		one = addFlag(one, "--"+headlampFlag, c.headlamp.address)
		one = addFlag(one, "--"+clusterFlag, c.headlamp.cluster)
		one = addFlag(one, "--"+tokenFileFlag, c.headlamp.tokenFile)
		one = addFlag(one, "--"+statelessFlag, c.headlamp.stateless)
		one = c.addTransportFlags(one)
	}
	if own || kubectl && !strings.HasPrefix(one, "kubectl config set-") {
		one = addFlag(one, "--context", c.flags.Context)
	}
	return one
}

// replaceKubectl returns the command of kshell that corresponds to a command of
// kubectl in a hint. If there is none, it returns the command unchanged. It
// replaces "kubectl delete pod" because hints contain it only for pods of node
// shells. The command gc deletes such a pod only after the pod has ended.
func (c connectionFlags) replaceKubectl(command string) string {
	if arguments, ok := strings.CutPrefix(command, "kubectl delete pod "); ok {
		_, namespace, _ := cutUnquoted(arguments, " -n ")
		return c.program + " node-shell gc -n " + strings.TrimSuffix(namespace, " --ignore-not-found")
	}
	if arguments, ok := strings.CutPrefix(command, "kubectl get "); ok && !strings.Contains(arguments, " --") &&
		!hasFlag(command, "-o") {
		kind, _, _ := strings.Cut(arguments, " ")
		if _, known := kinds.Find(kind); known {
			return c.program + " watch " + arguments + " --once"
		}
	}
	return command
}

// addTransportFlags adds the flags for TLS and the proxy to a command of kshell.
// It does not add the address of a proxy that may contain a password.
func (c connectionFlags) addTransportFlags(command string) string {
	const insecureFlag = "--insecure-skip-tls-verify"
	command = addFlag(command, "--certificate-authority", c.flags.CAFile)
	command = addFlag(command, "--tls-server-name", c.flags.TLSServerName)
	if !strings.Contains(c.flags.ProxyURL, "@") {
		command = addFlag(command, "--proxy-url", c.flags.ProxyURL)
	}
	if c.flags.Insecure && !hasFlag(command, insecureFlag) {
		flags, arguments := cutArguments(command)
		command = flags + " " + insecureFlag + arguments
	}
	return command
}

// hasFlag reports whether a command of kubectl or kshell has a flag. The
// arguments that follow -- are not flags of the command.
func hasFlag(command, flag string) bool {
	flags, _ := cutArguments(command)
	_, _, found := cutUnquoted(flags+" ", " "+flag+" ")
	return found
}

// addFlag adds a flag to a command of kubectl or kshell, before the arguments
// that follow --. If value is "", or the command has the flag, it returns the
// command unchanged.
func addFlag(command, flag, value string) string {
	if value == "" || hasFlag(command, flag) {
		return command
	}
	flags, arguments := cutArguments(command)
	return flags + " " + flag + " " + script.Quote(value) + arguments
}

// cutArguments divides a command before " --", if that is a word of the
// command. Otherwise arguments is "".
func cutArguments(command string) (flags, arguments string) {
	flags, _, _ = cutUnquoted(command+" ", " -- ")
	flags = command[:min(len(flags), len(command))]
	return flags, command[len(flags):]
}

// cutUnquoted is like strings.Cut, but ignores a separator in quotes. The
// separator must begin with a space.
func cutUnquoted(command, separator string) (before, after string, found bool) {
	var quote byte // the quote character that is open, or 0
	for i := 0; i < len(command); i++ {
		switch c := command[i]; {
		case c == '\\' && quote != '\'':
			i++ // the next character is not special
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case strings.HasPrefix(command[i:], separator):
			return command[:i], command[i+len(separator):], true
		}
	}
	return command, "", false
}
