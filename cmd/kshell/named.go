package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/script"
)

// dashesHint returns the hint for a command line without --. target is the
// argument for the pod or node, command is the argument after target.
func dashesHint(cmd *cobra.Command, target, command string) string {
	return fmt.Sprintf("put -- before the command: `%s [FLAGS] %s -- %s ...`",
		cmd.CommandPath(), quoteTarget(target), script.Quote(command))
}

// quoteTarget quotes an argument that selects a pod or a node. The argument may
// also be a flag, such as --pick or -f FILE, which is not changed.
func quoteTarget(arg string) string {
	if strings.HasPrefix(arg, "-") {
		return arg
	}
	return script.Quote(arg)
}

// namesCommand reports whether command, the arguments after --, begins with the
// name of a command. If it begins with a flag, the name is probably before --.
func namesCommand(command []string) bool {
	return len(command) > 0 && !strings.HasPrefix(command[0], "-")
}

// severalNamed returns the error for a command line that names more than one
// pod or node before --. noun is "pod" or "node". forSeveral is what to type
// for a command in several pods or nodes.
func severalNamed(cmd *cobra.Command, noun string, named, command []string, forSeveral string) error {
	quoted := make([]string, len(named))
	for i, name := range named {
		quoted[i] = strconv.Quote(name)
	}
	last := len(quoted) - 1
	line := commandLine(cmd.CommandPath(), quoteTarget(named[0]), command)
	return outcome.NewUsageError(
		fmt.Sprintf("more than one %s is named: %s and %s", noun, strings.Join(quoted[:last], ", "), quoted[last]),
		fmt.Sprintf("type `%s`; for several %ss, type %s", line, noun, forSeveral),
	)
}

// isTypeAndName reports whether the words of a command line are a supported TYPE
// and a NAME, as in `kubectl get deploy web`.
func isTypeAndName(typed, name string) bool {
	_, err := pod.ParseTarget(typed + "/" + name)
	return err == nil && !strings.Contains(typed, "/")
}

// typeApart returns the error for a command line on which a space separates the
// type from the name.
func typeApart(cmd *cobra.Command, typed, name string, command []string) error {
	line := commandLine(cmd.CommandPath(), quoteTarget(typed+"/"+name), command)
	return outcome.NewUsageError(
		fmt.Sprintf("the type %q and the name %q are separated by a space, not by /", typed, name),
		fmt.Sprintf("type `%s`", line),
	)
}

// commandLine returns a command line of kshell. path is the command path, such
// as kshell exec. target and command may be empty.
func commandLine(path, target string, command []string) string {
	if target != "" {
		path += " " + target
	}
	if len(command) > 0 {
		path += " -- " + script.QuoteAll(command)
	}
	return path
}

// nodeTypes are kubectl's names for the type node.
var nodeTypes = []string{"node", "nodes", "no"}

// otherTypes are kubectl's names for types that kshell does not support and
// users are likely to type. They are not taken for namespaces.
var otherTypes = []string{
	"cj", "cm", "configmap", "configmaps", "cronjob", "cronjobs", "endpoints", "ep", "event", "events", "hpa", "ing",
	"ingress", "ingresses", "namespace", "namespaces", "ns", "pv", "pvc", "sa", "secret", "secrets", "serviceaccount",
}

// parseTarget parses the argument POD or TYPE/NAME of exec. If TYPE is not
// supported, the hint has the command for what the user may have meant: a node,
// or a pod in the namespace TYPE.
func parseTarget(cmd *cobra.Command, arg string, command []string) (pod.Target, error) {
	target, err := pod.ParseTarget(arg)
	var unsupported *pod.TargetError
	if !errors.As(err, &unsupported) || unsupported.Type == "" {
		return target, err
	}
	typed, name := unsupported.Type, unsupported.Name
	switch {
	case slices.Contains(nodeTypes, strings.ToLower(typed)):
		line := commandLine(cmd.Root().CommandPath()+" node-shell", name, command)
		return target, outcome.NewUsageError(
			fmt.Sprintf("%s is a node, and exec needs a pod", strconv.Quote(arg)),
			fmt.Sprintf("for a shell on a node, type `%s`", line),
		)
	case !slices.Contains(otherTypes, typed) && len(validation.IsDNS1123Label(typed)) == 0 &&
		len(validation.IsDNS1123Subdomain(name)) == 0:
		line := commandLine(cmd.CommandPath(), name+" -n "+typed, command)
		hint := fmt.Sprintf("for pod %s in namespace %s, type `%s`\n", name, typed, line)
		if question := unsupported.DidYouMean(); question != "" {
			return target, outcome.NewUsageError(err.Error(), question+"\n"+hint)
		}
		return target, outcome.NewUsageError(err.Error(), hint+unsupported.Hint())
	}
	return target, err
}
