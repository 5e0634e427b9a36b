package main

import (
	"cmp"
	"context"
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

// What is so without a flag and a setting. The images have nsenter, chroot and what exact mode needs.
const (
	nodeImageDefault        = "docker.io/library/busybox:1.37"
	nodeImageDefaultWindows = "mcr.microsoft.com/oss/kubernetes/windows-host-process-containers-base-image:v1.0.0"
	ttlDefault              = 8 * time.Hour
	staleDefault            = node.DefaultHeartbeat
)

// nodeFlags are node-shell's own.
type nodeFlags struct {
	image, pullPolicy, pullSecret, account, priority, profile string
	cpu, memory                                               string
	claims, labels                                            []string
	apart                                                     node.Namespaces
	chroot, view                                              bool
	ttl, stale                                                time.Duration
	stdin, tty                                                bool
	noLog, detach, attach, dryRun                             bool
	scriptFlags
	manyFlags
	liveFlags
	waitFlags
}

func newNodeShell(a *app) *cobra.Command {
	var f nodeFlags
	cmd := f.command(func(cmd *cobra.Command, args []string) error {
		plan, err := planNode(cmd, f, args, a.terminals())
		if err != nil {
			return err
		}
		return a.nodeShell(cmd.Context(), plan)
	})
	cmd.ValidArgsFunction = a.nodeNames
	noFiles(cmd, cmd.Flags())
	cmd.AddCommand(newNodeList(a), newNodeGC(a))
	return cmd
}

// command is node-shell's, with its flags in f.
func (f *nodeFlags) command(run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node-shell [NODE] [-- COMMAND [ARG...]]",
		Short: "Open a shell or run a command on a node, as root",
		Long: `Open a shell or run a command on a node, as root, by a privileged pod that is deleted afterwards.

On Linux it enters the node's own namespaces: what runs is the node's, not the image's. Without a command, and on a
terminal, it opens a login shell, to which kshell comes back when the connection has broken. --detach and ~d leave it
running, --attach comes back to it. The pod ends by itself when kshell is gone for five minutes (--heartbeat), and after
--ttl in any case. What earlier ones have left behind is deleted.`,
		Example: `  kshell node-shell                             on a node that is chosen from a list
  kshell node-shell worker-1                    a shell on node worker-1
  kshell node-shell worker-1 -- journalctl -n9  a command there
  kshell node-shell -l disk=ssd --all -- uptime a command on each node with a label
  kshell node-shell --attach                    back to a shell that was left running
  kshell node-shell list                        what runs, whose it is, how old`,
		Args:                  cobra.ArbitraryArgs,
		DisableFlagsInUseLine: true,
		RunE:                  run,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.stdin, "stdin", "i", false, "pass stdin to the command")
	flags.BoolVarP(&f.tty, "tty", "t", false, "stdin is a terminal (needs -i)")
	flags.StringVar(&f.image, "image", "", "the pod's image, with sh and nsenter or chroot; default: the setting node-image, else "+nodeImageDefault)
	flags.StringVar(&f.pullPolicy, "image-pull-policy", "", "Always, IfNotPresent or Never; default: the cluster's")
	flags.StringVar(&f.pullSecret, "image-pull-secret", "", "the secret with which the image is pulled")
	flags.StringVar(&f.profile, "profile", node.SysAdmin, "what the pod may do: sysadmin (everything), general (no privileges beyond an ordinary root's), netadmin (and the network)")
	flags.BoolVar(&f.chroot, "chroot", false, "change the root to the node's files, and enter no namespaces")
	flags.BoolVar(&f.view, "host-view", false, "stay in the image, with the node's files in /host: for nodes without a shell (chosen by itself there)")
	flags.BoolVar(&f.apart.Mount, "no-mount", false, "do not enter the node's mount namespace")
	flags.BoolVar(&f.apart.PID, "no-pid", false, "do not share the node's processes; its files are then entered as by --chroot")
	flags.BoolVar(&f.apart.Net, "no-net", false, "do not share the node's network")
	flags.BoolVar(&f.apart.IPC, "no-ipc", false, "do not share the node's IPC namespace")
	flags.BoolVar(&f.apart.UTS, "no-uts", false, "do not enter the node's UTS namespace (its host name)")
	flags.StringVar(&f.account, "service-account", "", "the pod's service account, whose token it does not get")
	flags.StringVar(&f.priority, "priority-class", "", "the pod's priority class")
	flags.StringVar(&f.cpu, "cpu", "100m", "CPU that the pod asks for, where a quota wants to know")
	flags.StringVar(&f.memory, "memory", "256Mi", "memory that the pod asks for, where a quota wants to know")
	flags.StringSliceVar(&f.claims, "mount-pvc", nil, "mount this persistent volume claim in /mnt/NAME of the image (implies --host-view); may be repeated")
	flags.StringArrayVar(&f.labels, "label", nil, "another label for the pod, KEY=VALUE; may be repeated")
	flags.DurationVar(&f.ttl, "ttl", ttlDefault, "the pod ends after this time, whatever happens")
	flags.DurationVar(&f.stale, "heartbeat", staleDefault, "the pod ends when kshell is gone for this time, unless it was detached")
	flags.BoolVar(&f.noLog, "no-log", false, "a shell that is not written to the container's log on the node: one cannot come back to it")
	flags.BoolVar(&f.detach, "detach", false, "start the shell and leave it running")
	flags.BoolVar(&f.attach, "attach", false, "come back to a shell that was left running: [POD] in place of NODE")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the pod (-o yaml) and make none")
	f.scriptFlags.addTo(flags)
	f.liveFlags.addTo(flags)
	f.manyFlags.addTo(cmd)
	f.waitFlags.addTo(flags)
	flags.Lookup("selector").Usage = "the nodes with these labels, as kubectl has it (with --all)"
	flags.Lookup("all").Usage = "run the command on all nodes of -l, or on all; each line of output begins with its node"
	flags.Lookup("max-parallel").Usage = "on so many nodes at the same time, with --all"
	flags.Lookup("fold").Usage = "join the nodes whose output and exit code are the same, at the end, with --all"
	flags.Lookup("pod-running-timeout").Usage = "wait so long for the pod to start"
	return cmd
}

// nodePlan is what a node-shell command line asks for.
type nodePlan struct {
	node        string // empty: there is a list, or several are meant
	all         bool
	attach      string // the pod to come back to; "" with attaching: the only one
	attaching   bool
	options     node.Options // but for the node, and what is made up for each pod
	image       bool         // was named
	cpu, memory string
	detach      bool
	noLog       bool
	dryRun      bool
	exec        *execPlan // what is to be run, without the way to the node
}

// interactive says whether it is a shell to which one comes back.
func (p *nodePlan) interactive() bool { return len(p.exec.command) == 0 && !p.noLog }

// planNode makes the plan of a command line.
func planNode(cmd *cobra.Command, f nodeFlags, args []string, local terminals) (*nodePlan, error) {
	named, command := args, []string(nil)
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		named, command = args[:dash], args[dash:]
	}
	if len(named) > 1 {
		return nil, outcome.NewUsageError("a command is separated from the node by --", dashes(cmd, named[0], named[1]))
	}
	p := &nodePlan{all: f.all, attaching: f.attach, cpu: f.cpu, memory: f.memory, detach: f.detach, noLog: f.noLog, dryRun: f.dryRun, image: f.image != ""}
	if len(named) == 1 {
		kind, name, typed := strings.Cut(named[0], "/")
		if typed && !slices.Contains([]string{"node", "nodes", "no"}, kind) && (!f.attach || kind != "pod") {
			return nil, usage(cmd, strconv.Quote(named[0])+" is no node: NODE or node/NODE")
		}
		p.node = kind
		if typed {
			p.node = name
		}
	}
	if err := f.planNodeRun(cmd, p, command, local); err != nil {
		return nil, err
	}
	if err := f.planWays(cmd, p, local); err != nil {
		return nil, err
	}
	return p, f.planPod(cmd, p)
}

// planNodeRun settles what is to be run.
func (f *nodeFlags) planNodeRun(cmd *cobra.Command, p *nodePlan, command []string, local terminals) error {
	local.in = local.in && f.stdinFile == ""
	x := &execPlan{path: cmd.CommandPath(), container: node.Container, command: command, stdin: f.stdin, tty: f.tty, script: f.scriptFlags, live: f.liveFlags, running: f.running}
	p.exec = x
	x.stdin, x.scripted, x.offer = (x.stdin || f.stdinFile != "") && !f.noStdin, true, stream.Protocols()
	x.settleTTY(local)
	x.narrowed = narrowed{ends: x.stdin && !local.in}
	x.exact = exactPlan{mode: exactAuto, whole: !local.in}
	if len(command) == 0 {
		x.stdin, x.tty = true, true
	}
	if x.tty {
		x.exact.mode = exactNever
	}
	err := cmp.Or(f.scriptFlags.check(cmd), f.waitFlags.check(cmd), x.live.check(cmd))
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
		return outcome.NewUsageError("-l finds several nodes: which of them is meant?", "add --all to run a command on all of them")
	}
	return f.unused(cmd)
}

// planWays refuses what contradicts itself.
func (f *nodeFlags) planWays(cmd *cobra.Command, p *nodePlan, local terminals) error {
	shell, here := len(p.exec.command) == 0, local.in && local.out
	switch {
	case f.dryRun && f.output != "yaml" && cmd.Flags().Changed("output"):
		return outcome.NewUsageError("unknown --output "+strconv.Quote(f.output)+" of --dry-run", "-o yaml")
	case f.dryRun && p.node == "":
		return usage(cmd, "--dry-run needs a NODE")
	case f.dryRun:
		return nil
	case f.attach && (!shell || f.detach || f.all || f.noLog):
		return usage(cmd, "--attach goes back to a shell as it is: --detach, --no-log, --all and commands are for new ones")
	case f.detach && (!shell || f.noLog):
		return usage(cmd, "--detach leaves a shell running to which one can come back: no command, and no --no-log")
	case f.all && p.node != "":
		return usage(cmd, "--all and "+p.node+" are two ways to say which nodes")
	case f.attach && !here:
		return usage(cmd, "--attach goes back to a shell, which needs a terminal at both stdin and stdout")
	case shell && !f.detach && !here:
		return outcome.NewUsageError(
			"no command was named, and a shell needs a terminal at both stdin and stdout",
			fmt.Sprintf("%s %s -- COMMAND", cmd.CommandPath(), cmp.Or(p.node, "NODE")),
		)
	case p.node == "" && !f.all && !f.attach && !here:
		return outcome.NewUsageError("which node? none was named", cmd.CommandPath()+" NODE -- COMMAND; on a terminal "+cmd.CommandPath()+" lists the nodes")
	case f.attach:
		p.attach, p.node = p.node, ""
	}
	return nil
}

// planPod settles what pod is made.
func (f *nodeFlags) planPod(cmd *cobra.Command, p *nodePlan) error {
	o := node.Options{
		Image: f.image, PullPolicy: corev1.PullPolicy(f.pullPolicy), PullSecret: f.pullSecret, ServiceAccount: f.account, PriorityClass: f.priority,
		Claims: f.claims, Profile: f.profile, Private: f.apart, TTL: f.ttl, HeartbeatTimeout: f.stale, StartTimeout: f.running,
		Shell: p.interactive(), Detached: f.detach, Labels: map[string]string{},
	}
	switch {
	case f.chroot && f.view:
		return usage(cmd, "--chroot and --host-view are two ways to go")
	case f.chroot:
		o.Entry = node.Chroot
	case f.view:
		o.Entry = node.View
	}
	switch {
	case !slices.Contains(node.Profiles(), f.profile):
		return outcome.NewUsageError("unknown --profile "+strconv.Quote(f.profile), "one of "+strings.Join(node.Profiles(), ", "))
	case !slices.Contains([]string{"", "Always", "IfNotPresent", "Never"}, f.pullPolicy):
		return outcome.NewUsageError("unknown --image-pull-policy "+strconv.Quote(f.pullPolicy), "one of Always, IfNotPresent, Never")
	case f.running < time.Second:
		return usage(cmd, fmt.Sprintf("--pod-running-timeout %v is too short: a pod has to be made first", f.running))
	case f.ttl < time.Minute:
		return usage(cmd, fmt.Sprintf("--ttl %v is too short: 1m at least", f.ttl))
	case f.stale < node.MinHeartbeat:
		return usage(cmd, fmt.Sprintf("--heartbeat %v is too short: %v at least", f.stale, node.MinHeartbeat))
	}
	for flag, value := range map[string]string{"cpu": f.cpu, "memory": f.memory} {
		if _, err := resource.ParseQuantity(value); err != nil {
			return usage(cmd, fmt.Sprintf("--%s %s is no quantity such as 100m or 256Mi", flag, strconv.Quote(value)))
		}
	}
	for _, label := range f.labels {
		key, value, ok := strings.Cut(label, "=")
		switch {
		case !ok || len(validation.IsQualifiedName(key)) > 0 || len(validation.IsValidLabelValue(value)) > 0:
			return usage(cmd, "--label "+strconv.Quote(label)+" is no KEY=VALUE that a label can be")
		case node.IsReservedLabel(key):
			return usage(cmd, "--label "+key+": by this one kshell knows its own pods")
		}
		o.Labels[key] = value
	}
	p.options = o
	return nil
}

// nodeShell carries a plan out.
func (a *app) nodeShell(ctx context.Context, p *nodePlan) error {
	kube, err := a.connect()
	if err != nil {
		return err
	}
	if err := p.exec.live.applySettings(a.settings); err != nil {
		return err
	}
	p.options.Namespace = kube.Namespace
	if !p.image {
		p.options.Image = a.settings.NodeImage.Text
	}
	p.options.CreatedBy, p.options.CreatedFrom = whoami()
	p.options.Env = terminalEnv(os.Environ())
	s, err := a.newNodeShells(kube, p)
	if err != nil {
		return err
	}
	for _, w := range p.exec.warnings {
		a.notice.WarnAlways("%s", w)
	}
	switch {
	case p.dryRun:
		return s.print(ctx)
	case p.exec.many != nil:
		return s.runOnNodes(ctx)
	case p.attaching:
		return outcome.ContextCause(ctx, s.comeBack(ctx))
	}
	if p.node == "" {
		if p.node, err = s.pick(ctx); err != nil {
			return outcome.ContextCause(ctx, err)
		}
	}
	return s.one(ctx)
}

// whoami is who makes the pod, and on which machine, as far as that is known.
func whoami() (name, host string) {
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ = os.Hostname() // without it the pod says nothing of it
	return notice.Clean(name), notice.Clean(host)
}

// terminalEnv is what a shell has to know of this terminal.
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
