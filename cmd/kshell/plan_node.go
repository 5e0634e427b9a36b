package main

import (
	"cmp"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"kshell/internal/node"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// nodePlan is a parsed command line of node-shell.
type nodePlan struct {
	node    string       // empty: the user chooses the node from a list, or the field all or attach is set
	all     bool         // on all nodes, or those of a selector
	attach  bool         // attach to a shell that is running
	pod     string       // the pod to attach to; empty: not specified
	options node.Options // of the pod; see nodeshell.Options
	image   bool         // --image was given
	cpu     string       // requested by the pod if a quota requires it
	memory  string       // requested by the pod if a quota requires it

	dryRun, dryRunJSON bool      // print the pod as YAML; dryRunJSON: as JSON
	exec               *execPlan // the command; its target is set later
}

// planNode returns the plan of a command line.
func planNode(cmd *cobra.Command, f nodeFlags, args []string, local terminals) (*nodePlan, error) {
	named, command := args, []string(nil)
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		named, command = args[:dash], args[dash:]
	}
	switch {
	case len(named) > 1 && namesCommand(command):
		return nil, severalNamed(cmd, "node", named, command, "-l LABEL=VALUE and --all")
	case len(named) > 1:
		return nil, outcome.NewUsageError(
			"the command must be separated from the node by --", dashesHint(cmd, named[0], named[1]),
		)
	}
	p := &nodePlan{
		all: f.all, attach: f.attach, cpu: f.cpu, memory: f.memory, dryRun: f.dryRun, image: f.image != "",
		dryRunJSON: f.dryRun && f.output == outputJSON,
	}
	if len(named) == 1 {
		kind, name, typed := strings.Cut(named[0], "/")
		if typed && !slices.Contains(nodeTypes, kind) && (!f.attach || kind != "pod") {
			return nil, usage(cmd, strconv.Quote(named[0])+" is not a node: use NODE or node/NODE")
		}
		p.node = kind
		if typed {
			p.node = name
		}
		if err := checkNodeName(p.node); err != nil && (typed || p.node != "") && !f.attach {
			return nil, err
		}
	}
	if err := f.planNodeRun(cmd, p, command, local); err != nil {
		return nil, err
	}
	if err := f.checkTarget(cmd, p, local); err != nil {
		return nil, err
	}
	if f.attach && !f.dryRun {
		p.pod, p.node = p.node, ""
	}
	return p, f.planPod(cmd, p)
}

// planNodeRun sets p.exec, the plan of the command.
func (f *nodeFlags) planNodeRun(cmd *cobra.Command, p *nodePlan, command []string, local terminals) error {
	local.in = local.in && f.stdinFile == ""
	x := &execPlan{
		path: cmd.CommandPath(), container: node.Container, command: command, stdin: f.stdin, tty: f.tty,
		script: f.scriptFlags, session: f.sessionFlags, waitRunning: f.runningTimeout,
	}
	p.exec = x
	x.stdin, x.scripts, x.protocols = (x.stdin || f.stdinFile != "") && !f.noStdin, true, stream.Protocols()
	x.dropUnusableTTY(local)
	x.inputEnds = x.stdin && !local.in
	x.exact = exactPlan{mode: exactAuto, endIfInputCut: !local.in}
	if len(command) == 0 {
		x.stdin, x.tty = true, true
	}
	if x.tty {
		x.exact.mode = exactNever
	}
	err := cmp.Or(f.scriptFlags.check(cmd), f.waitFlags.check(), x.session.check(cmd))
	if err != nil || f.dryRun {
		return err
	}
	if f.all {
		named := []string{"all nodes"}
		if f.selector != "" {
			named = nil
		}
		x.many, err = f.planMany(cmd, named, command, x.tty)
		return err
	}
	if f.selector != "" {
		return outcome.NewUsageError(
			"-l may select several nodes", "add --all to run a command on all of them, or name one node")
	}
	return f.unused(cmd)
}

// checkTarget returns an error if the command line specifies no node and needs
// one, or if it contains flags that exclude each other.
func (f *nodeFlags) checkTarget(cmd *cobra.Command, p *nodePlan, local terminals) error {
	shell, onTerminal := len(p.exec.command) == 0, local.in && local.out
	switch {
	case f.dryRun && f.output != outputYAML && f.output != outputJSON && cmd.Flags().Changed("output"):
		return outcome.NewUsageError(
			"unknown --output "+strconv.Quote(f.output)+" of --dry-run", "one of "+outputYAML+", "+outputJSON)
	case f.dryRun && p.node == "":
		return usage(cmd, "--dry-run needs a NODE")
	case f.dryRun:
		return nil
	case f.attach && (!shell || f.detach || f.all || f.noLog):
		return usage(cmd, "--attach continues a running shell: it cannot be used with --detach, --no-log, --all or a command")
	case f.detach && (!shell || f.noLog):
		return usage(cmd, "--detach leaves a shell running: it cannot be used with --no-log or a command")
	case f.all && p.node != "":
		return usage(cmd, "--all and the node "+p.node+" cannot be used together")
	case f.attach && !onTerminal:
		return usage(cmd, "--attach needs a terminal at stdin and stdout")
	case shell && !f.detach && !onTerminal:
		return outcome.NewUsageError(
			"no command is specified, and a shell needs a terminal at stdin and stdout",
			fmt.Sprintf("type `%s %s -- COMMAND`", cmd.CommandPath(), cmp.Or(p.node, "NODE")),
		)
	case p.node == "" && !f.all && !f.attach && !onTerminal:
		return outcome.NewUsageError(
			"no node is specified",
			fmt.Sprintf("type `%[1]s NODE -- COMMAND`; on a terminal, `%[1]s` lists the nodes", cmd.CommandPath()),
		)
	}
	return nil
}

// planPod sets the options of the pod.
func (f *nodeFlags) planPod(cmd *cobra.Command, p *nodePlan) error {
	o := node.Options{
		Image: f.image, PullPolicy: corev1.PullPolicy(f.pullPolicy), PullSecret: f.pullSecret,
		ServiceAccount: f.account, PriorityClass: f.priority,
		Claims: f.claims, Profile: f.profile, Private: f.private,
		TTL: f.ttl, HeartbeatTimeout: f.heartbeat, StartTimeout: f.runningTimeout,
		Shell: len(p.exec.command) == 0 && !f.noLog, Detached: f.detach, Labels: map[string]string{},
	}
	switch {
	case f.chroot && f.view:
		return usage(cmd, "--chroot and --host-view cannot be used together")
	case f.chroot:
		o.Entry = node.Chroot
	case f.view:
		o.Entry = node.View
	}
	switch {
	case !slices.Contains(node.Profiles(), f.profile):
		return outcome.NewUsageError(
			"unknown --profile "+strconv.Quote(f.profile), "one of "+strings.Join(node.Profiles(), ", "))
	case !slices.Contains([]string{"", "Always", "IfNotPresent", "Never"}, f.pullPolicy):
		return outcome.NewUsageError(
			"unknown --image-pull-policy "+strconv.Quote(f.pullPolicy), "one of Always, IfNotPresent, Never")
	case f.runningTimeout < time.Second:
		return usage(cmd, fmt.Sprintf(
			"--pod-running-timeout %v is too short: the pod must be created first", f.runningTimeout))
	case f.ttl < time.Minute:
		return usage(cmd, fmt.Sprintf("--ttl %s is too short: the minimum is 1m", shortDuration(f.ttl)))
	case f.heartbeat < node.MinHeartbeat:
		return usage(cmd, fmt.Sprintf("--heartbeat %v is too short: the minimum is %v", f.heartbeat, node.MinHeartbeat))
	}
	if err := cmp.Or(checkQuantity("cpu", f.cpu, "100m"), checkQuantity("memory", f.memory, "256Mi")); err != nil {
		return err
	}
	for _, label := range f.labels {
		key, value, ok := strings.Cut(label, "=")
		switch {
		case !ok || len(validation.IsQualifiedName(key)) > 0 || len(validation.IsValidLabelValue(value)) > 0:
			return usage(cmd, "--label "+strconv.Quote(label)+" is not a valid label: use KEY=VALUE")
		case node.IsReservedLabel(key):
			return usage(cmd, "--label "+key+": kshell sets this label to recognize its own pods")
		}
		o.Labels[key] = value
	}
	p.options = o
	return nil
}

// checkQuantity returns a usage error if value, the value of a flag, is not a
// positive Kubernetes quantity. The hint has example as the value.
func checkQuantity(flag, value, example string) error {
	hint := "--" + flag + " " + example
	switch quantity, err := resource.ParseQuantity(value); {
	case err != nil:
		return outcome.NewUsageError(fmt.Sprintf("--%s %q is not a quantity", flag, value), hint)
	case quantity.Sign() <= 0:
		return outcome.NewUsageError(fmt.Sprintf("--%s %s: must be greater than 0", flag, value), hint)
	}
	return nil
}

// checkNodeName returns a usage error if no node can have this name.
func checkNodeName(name string) error {
	if len(validation.IsDNS1123Subdomain(name)) == 0 {
		return nil
	}
	return outcome.NewUsageError(fmt.Sprintf("%q is not a node name", name),
		"names consist of a-z, 0-9, - and .; `kubectl get nodes` lists the nodes")
}

// whoami returns the names of the local user and host, which are recorded in
// the pod. A name that is not known is empty.
func whoami() (name, host string) {
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ = os.Hostname() // after an error, host is empty
	return notice.Clean(name), notice.Clean(host)
}

// terminalEnv returns the variables of environ that describe the terminal to a
// shell.
func terminalEnv(environ []string) []corev1.EnvVar {
	var known []corev1.EnvVar
	for _, name := range []string{"TERM", "COLORTERM"} {
		for _, v := range environ {
			if value, ok := strings.CutPrefix(v, name+"="); ok && value != "" {
				known = append(known, corev1.EnvVar{Name: name, Value: value})
			}
		}
	}
	return known
}
