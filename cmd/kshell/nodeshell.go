package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"kshell/internal/interactive"
	"kshell/internal/kubeconfig"
	"kshell/internal/node"
	"kshell/internal/nodeshell"
	"kshell/internal/outcome"
	"kshell/internal/picker"
	"kshell/internal/remote"
	"kshell/internal/terminal"
)

// ttlDefault is the default of --ttl.
const ttlDefault = 8 * time.Hour

// nodeShellLimits are time limits of node shells. Tests change them.
var nodeShellLimits nodeshell.Limits

// nodeFlags are the flags of node-shell.
type nodeFlags struct {
	image, pullPolicy, pullSecret, account, priority, profile string
	cpu, memory                                               string
	claims, labels                                            []string
	private                                                   node.Namespaces
	chroot, view                                              bool
	ttl, heartbeat                                            time.Duration
	stdin, tty                                                bool
	noLog, detach, attach, dryRun                             bool
	scriptFlags
	manyFlags
	sessionFlags
	waitFlags
}

// nodeFlagsText are the flags that kshell node-shell --help lists.
const nodeFlagsText = `
Target:
  -l, --selector LABELS    nodes with these labels, e.g. disk=ssd (with --all)
      --all                run the command on all nodes, or on those of -l

Pod:
      --image IMAGE        image of the pod
      --profile NAME       rights of the pod: sysadmin, general or netadmin
      --dry-run            print the pod, and do not create it

Session:
      --detach             start the shell and leave it running
      --attach             continue a shell that was left running
      --ttl TIME           end the pod after this time (default: 8h)
      --timeout TIME       end the command after this time, such as 30s
` + connectionGroup

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
	a.addConfirmFlag(cmd.Flags())
	noFiles(cmd, cmd.Flags())
	cmd.AddCommand(newNodeList(a), newNodeGC(a))
	return cmd
}

// command returns the node-shell command, whose flags are stored in f.
func (f *nodeFlags) command(run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node-shell [NODE] [-- COMMAND...]",
		Short: "Open a shell or run a command on a node, as root",
		Long: `Open a shell or run a command on a node, as root, in a privileged pod that is deleted afterwards.

On Linux, the pod enters the namespaces of the node: the programs are those of the node, not of the image. Without a
command, and on a terminal, kshell opens a login shell, and attaches to it again after a lost connection. --detach and
~d leave the shell running; --attach attaches to it again. If kshell is killed, the pod ends after five minutes
(--heartbeat). It ends after --ttl in any case. Pods that earlier node shells have left are deleted.`,
		Example: `  kshell node-shell                              on a node chosen from a list
  kshell node-shell worker-1                     a shell on node worker-1
  kshell node-shell worker-1 -- journalctl -n9   a command on that node
  kshell node-shell -l disk=ssd --all -- uptime  on each node with a label
  kshell node-shell --attach                     continue a shell left running`,
		Annotations:           map[string]string{commonFlags: nodeFlagsText},
		Args:                  cobra.ArbitraryArgs,
		DisableFlagsInUseLine: true,
		RunE:                  run,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.stdin, "stdin", "i", false, "pass stdin to the command")
	flags.BoolVarP(&f.tty, "tty", "t", false, "stdin is a terminal (needs -i)")
	flags.StringVar(&f.image, "image", "",
		"image of the pod; needs sh, and nsenter or chroot; default: the setting node-image, "+
			"else that of the Headlamp server, else "+nodeshell.DefaultImage)
	flags.StringVar(&f.pullPolicy, "image-pull-policy", "",
		"Always, IfNotPresent or Never; default: the cluster's default")
	flags.StringVar(&f.pullSecret, "image-pull-secret", "", "secret for pulling the image")
	flags.StringVar(&f.profile, "profile", node.SysAdmin,
		"rights of the pod on the node: sysadmin (privileged), general (root without privileges), "+
			"netadmin (as general, plus the rights to administer the network)")
	flags.BoolVar(&f.chroot, "chroot", false, "change the root directory to the node's, and enter no namespaces")
	flags.BoolVar(&f.view, "host-view", false,
		"stay in the image, with the node's files in /host; the default on nodes without a shell")
	flags.BoolVar(&f.private.Mount, "no-mount", false, "do not enter the node's mount namespace")
	flags.BoolVar(&f.private.PID, "no-pid", false,
		"do not share the node's processes; its files are then entered as with --chroot")
	flags.BoolVar(&f.private.Net, "no-net", false, "do not share the node's network")
	flags.BoolVar(&f.private.IPC, "no-ipc", false, "do not share the node's IPC namespace")
	flags.BoolVar(&f.private.UTS, "no-uts", false, "do not enter the node's UTS namespace (its host name)")
	flags.StringVar(&f.account, "service-account", "", "service account of the pod; the pod does not get its token")
	flags.StringVar(&f.priority, "priority-class", "", "priority class of the pod")
	flags.StringVar(&f.cpu, "cpu", "100m", "CPU that the pod requests if a quota requires it")
	flags.StringVar(&f.memory, "memory", "256Mi", "memory that the pod requests if a quota requires it")
	flags.StringSliceVar(&f.claims, "mount-pvc", nil,
		"mount this persistent volume claim at /mnt/NAME in the image (implies --host-view); may be repeated")
	flags.StringArrayVar(&f.labels, "label", nil, "additional label of the pod, KEY=VALUE; may be repeated")
	flags.DurationVar(&f.ttl, "ttl", ttlDefault, "end the pod after this time in any case")
	flags.DurationVar(&f.heartbeat, "heartbeat", node.DefaultHeartbeat,
		"end the pod if kshell sends no heartbeat for this time, unless the shell was left running")
	flags.BoolVar(&f.noLog, "no-log", false,
		"do not write the shell's output to the container's log on the node; kshell cannot attach to such a shell again")
	flags.BoolVar(&f.detach, "detach", false, "start the shell and leave it running")
	flags.BoolVar(&f.attach, "attach", false, "attach to a shell that was left running: [POD] replaces NODE")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the pod (-o yaml or json), and do not create it")
	f.scriptFlags.addTo(flags)
	f.sessionFlags.addTo(flags)
	f.manyFlags.addTo(cmd)
	f.waitFlags.addTo(flags)
	for name, text := range map[string]string{
		"selector": "select nodes by labels, as in kubectl: disk=ssd,zone!=b (with --all)",
		"all": "run the command on all nodes, or on those of -l; the name of the node is printed before each line " +
			"of output",
		"max-parallel": "how many nodes run the command at the same time, with --all",
		"fold": "print the output when all commands have ended, once for nodes with the same output and exit code; " +
			"with --all",
		"output": "text, or json: one line of JSON for each line of output and for the end of each command; with --all; " +
			"yaml or json with --dry-run",
		"pod-running-timeout": "how long to wait for the pod to start",
	} {
		flags.Lookup(name).Usage = text
	}
	return cmd
}

// nodeShell executes the plan of a node-shell command line.
func (a *app) nodeShell(ctx context.Context, p *nodePlan) error {
	kube, err := a.connect(ctx, connectOptions{nodeShell: true, needsReason: !p.dryRun})
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	if err := p.exec.session.applySettings(a.settings); err != nil {
		return err
	}
	ctx = remote.RetryRefused(ctx, a.env(), p.exec.session.connectTimeout)
	p.options.Namespace = kube.Namespace
	if !p.image {
		p.options.Image = a.defaultNodeImage()
	}
	p.options.CreatedBy, p.options.CreatedFrom = whoami()
	p.options.Reason = a.recordedReason()
	p.options.Env = terminalEnv(os.Environ())
	m, cluster, err := a.newNodeManager(kube, nodeshell.Options{
		Program: p.exec.path, Pod: p.options, CPU: p.cpu, Memory: p.memory, Attach: p.attach,
		Command: p.exec.options(),
		Console: interactive.Options{
			Escape: p.exec.session.escapeChar(), Limits: terminalLimits, IdleTimeout: p.exec.session.idleTimeout,
			Notice: a.recordNotice(),
		},
		Limits: nodeShellLimits,
	})
	if err != nil {
		return err
	}
	defer cluster.Close()
	for _, w := range p.exec.warnings {
		a.notice.WarnAlways("%s", w)
	}
	switch {
	case p.dryRun:
		text, err := m.Manifest(ctx, p.node, p.dryRunJSON)
		if err == nil {
			_, _ = a.printed.Write(text) // a.printed keeps the error
		}
		return err
	case p.exec.many != nil:
		return a.runOnNodes(ctx, kube, m, cluster, p)
	case p.attach:
		err := outcome.ContextCause(ctx, m.Attach(ctx, p.pod, nodePrompter{a, kube}))
		if !m.LeftRunning() {
			a.printExitCode(p.exec, err)
		}
		return err
	}
	if p.node == "" {
		if p.node, err = a.chooseNode(ctx, m); err != nil {
			return outcome.ContextCause(ctx, err)
		}
	}
	return a.runOnNode(ctx, kube, m, p)
}

// defaultNodeImage returns the image of pods of node shells without --image, or
// "" for the built-in one.
func (a *app) defaultNodeImage() string {
	image := a.settings.NodeImage.Text
	if image == "" && a.headlampServer != nil {
		return a.headlampServer.NodeShellImage
	}
	return image
}

func (a *app) newNodeManager(
	kube *kubeconfig.Connection, o nodeshell.Options,
) (*nodeshell.Manager, *remote.Cluster, error) {
	cluster, err := remote.NewCluster(a.env(), kube.Config, false)
	if err != nil {
		return nil, nil, err
	}
	m, err := nodeshell.New(a.env(), cluster, o)
	return m, cluster, err
}

// runOnNode runs the plan on a single node.
func (a *app) runOnNode(
	ctx context.Context, kube *kubeconfig.Connection, m *nodeshell.Manager, p *nodePlan,
) error {
	status, err := a.newStatus(&p.exec.script)
	if err != nil {
		return err
	}
	if err = a.confirmContext(ctx, kube, p.action()); err == nil {
		err = a.runNodeCommand(ctx, m, p, status)
	}
	status.ended(err)
	if !m.LeftRunning() {
		a.printExitCode(p.exec, err)
	}
	return err
}

// runNodeCommand runs the plan for runOnNode, which writes the status record.
// runNodeCommand sets the command of status.
func (a *app) runNodeCommand(ctx context.Context, m *nodeshell.Manager, p *nodePlan, status *statusRecord) error {
	ctx, cancel := p.exec.script.limited(ctx)
	defer cancel()
	in, err := a.openInput(p.exec)
	if err != nil {
		return err
	}
	return m.Run(ctx, p.node, in, &status.command)
}

// chooseNode lets the user choose a node, and returns its name.
func (a *app) chooseNode(ctx context.Context, m *nodeshell.Manager) (string, error) {
	nodes, err := m.Nodes(ctx, "")
	if err != nil {
		return "", err
	}
	if len(nodes) == 0 {
		return "", errors.New("the cluster has no nodes")
	}
	i, err := a.choose(ctx, nodeMenu(nodes, time.Now()))
	if err != nil {
		return "", err
	}
	a.notice.Note("you chose node %s", nodes[i].Name)
	return nodes[i].Name, nil
}

// nodePrompter implements nodeshell.Prompter.
type nodePrompter struct {
	app  *app
	kube *kubeconfig.Connection
}

// ChooseShell implements nodeshell.Prompter.
func (p nodePrompter) ChooseShell(ctx context.Context, pods []corev1.Pod) (int, error) {
	list := picker.List{Title: "a shell", Header: nodeshell.Columns()}
	for i := range pods {
		list.Rows = append(list.Rows, nodeshell.Row(&pods[i], time.Now()))
	}
	return p.app.choose(ctx, list)
}

// Accept implements nodeshell.Prompter.
func (p nodePrompter) Accept(ctx context.Context, pod *corev1.Pod) error {
	return p.app.confirmContext(ctx, p.kube,
		fmt.Sprintf("the shell of pod %s on node %s", pod.Name, pod.Spec.NodeName))
}

// CanConfirm implements nodeshell.Prompter.
func (p nodePrompter) CanConfirm() bool { return terminal.IsTerminal(p.app.Err) }

// Confirm implements nodeshell.Prompter.
func (p nodePrompter) Confirm(ctx context.Context, question string) (bool, error) {
	return p.app.confirm(ctx, question)
}
