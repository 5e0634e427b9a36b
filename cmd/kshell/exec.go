package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"kshell/internal/interactive"
	"kshell/internal/kubeconfig"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/stream"
)

// execFlags are the flags of exec.
type execFlags struct {
	container    string
	stdin, tty   bool
	exact        string
	exactStdin   bool
	keep         bool
	subprotocols []string
	scriptFlags
	manyFlags
	shellFlags
	sessionFlags
	resumeFlags
	waitFlags
	manifestFlags
	pickFlags
}

// execFlagsText are the flags that kshell exec --help lists.
const execFlagsText = `
Target:
  -c, --container NAME     container (default: the pod's default, or its first)
  -l, --selector LABELS    pods with these labels, such as app=web (with --all)
      --all                run the command in all pods of TYPE/NAME or of -l

Session:
  -i, --stdin              pass stdin to the command
  -t, --tty                stdin is a terminal (needs -i)
      --shell NAME         shell to open (default: bash, sh or ash)
      --resume             keep the command running if the connection is lost
      --detach             start the command, and leave it running
      --attach             attach to a running command: --attach POD [ID]

Scripting:
      --env NAME=VALUE     set an environment variable for the command
      --workdir DIR        working directory of the command
      --timeout TIME       end the command after this time, such as 30s
      --status-file FILE   write the result of the command as JSON
` + connectionGroup

// newExec returns the command exec.
func newExec(a *app) *cobra.Command {
	var f execFlags
	cmd := f.command(func(cmd *cobra.Command, args []string) error {
		plan, err := planExec(cmd, f, args, a.terminals())
		if err != nil {
			return err
		}
		if err := a.applyManifest(cmd.Context(), plan); err != nil {
			return err
		}
		if plan.many != nil {
			return a.execMany(cmd.Context(), plan)
		}
		return a.exec(cmd.Context(), plan)
	})
	a.addConfirmFlag(cmd.Flags())
	return a.completeExec(cmd)
}

// command returns the command exec, whose flags are stored in f.
func (f *execFlags) command(run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec [-it] [POD | TYPE/NAME | -f FILE] [-c CONTAINER] [-- COMMAND...]",
		Short: "Open a shell or run a command in a pod's container",
		Long: `Open a shell or run a command in a container of a pod.

Without a command, and on a terminal, kshell opens a shell. TYPE is pod, deployment, replicaset, statefulset, daemonset,
job, replicationcontroller or service, or kubectl's short name for it. kshell chooses the best of its pods; with --pick,
you choose one from a list. If no pod is specified, and on a terminal, the list has all pods of the namespace.

With --all, the command is run in every pod of TYPE/NAME or of -l. Each line of output begins with the name of the pod.
The exit code is the highest of all pods. Pods that are not running and lost connections count as 255.`,
		Example: `  kshell exec web                            a shell in pod web
  kshell exec -it web -c app -- bash         another shell, in container app
  kshell exec deploy/web -- ps               a command in a pod of a deployment
  kshell exec deploy/web --all -- uptime     in each of its pods, ten at a time
  kshell exec -l app=web --all --fold -- id  equal output printed once
  kshell exec -i web -- sh -c 'cat >f' <f    a command with local input`,
		Annotations:           map[string]string{commonFlags: execFlagsText},
		ValidArgsFunction:     cobra.NoFileCompletions,
		DisableFlagsInUseLine: true,
		RunE:                  run,
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if args := cmd.Flags().Args(); len(args) > 1 { // the flag may belong to the remote command: -- is missing
			return outcome.NewUsageError(flagError(cmd, err).Error(), dashesHint(cmd, args[0], args[1]))
		}
		return flagError(cmd, err)
	})
	flags := cmd.Flags()
	flags.StringVarP(&f.container, "container", "c", "",
		"name of the container; default: the pod's default container, or its first")
	flags.BoolVarP(&f.stdin, "stdin", "i", false, "pass stdin to the container")
	flags.BoolVarP(&f.tty, "tty", "t", false, "stdin is a terminal (needs -i)")
	flags.StringVar(&f.exact, "exact", exactAuto,
		"run the command through a script that reports how it ended: auto (if the image has sh), always, never")
	flags.BoolVar(&f.exactStdin, "exact-stdin", false,
		"in exact mode, end the command if its input is cut off; default: true if stdin is not a terminal")
	flags.BoolVar(&f.keep, "keep", false,
		"in exact mode and with --resume, let the command continue after a lost connection or the end of kshell")
	f.shellFlags.addTo(flags)
	f.scriptFlags.addTo(flags)
	f.sessionFlags.addTo(flags)
	f.resumeFlags.addTo(flags)
	f.manyFlags.addTo(cmd)
	f.waitFlags.addTo(flags)
	f.manifestFlags.addTo(flags)
	f.pickFlags.addTo(flags)
	flags.StringSliceVar(&f.subprotocols, "subprotocol", nil,
		"offer only these WebSocket subprotocols, separated by commas: "+strings.Join(stream.Protocols(), ", "))
	for flag, values := range map[string][]string{
		"exact": exactModes, "reconnect": reconnectModes, "subprotocol": stream.Protocols(), resumeFlag: resumeModes,
	} {
		fixed := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
		_ = cmd.RegisterFlagCompletionFunc(flag, fixed) // the flag exists: no error
	}
	return cmd
}

// exec executes a plan. When it returns, the command has ended and the terminal
// is restored.
func (a *app) exec(ctx context.Context, p *execPlan) error {
	status, err := a.newStatus(&p.script)
	if err != nil {
		return err
	}
	err = a.execCommand(ctx, p, status)
	status.ended(err)
	a.printExitCode(p, err)
	return err
}

// execCommand executes a plan for exec, which writes the status record.
// execCommand sets the command of status.
func (a *app) execCommand(ctx context.Context, p *execPlan, status *statusRecord) error {
	for _, w := range p.warnings {
		a.notice.Warn("%s", w)
	}
	kube, cluster, err := a.connectAndPick(ctx, p)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	defer cluster.Close()
	if err := a.confirmContext(ctx, kube, p.action(kube.Namespace)); err != nil {
		return err
	}
	ctx, cancel := p.script.limited(ctx) // the limit excludes the time in which the user chooses and confirms
	defer cancel()
	ctx = remote.RetryRefused(ctx, a.env(), p.session.connectTimeout)
	command, err := a.newCommand(ctx, kube, cluster, p)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	status.command.Store(command)
	if p.resume.detach {
		if err := a.startDetached(ctx, command); err != nil {
			return outcome.ContextCause(ctx, err)
		}
		return outcome.ErrDetached
	}
	options := interactive.Options{
		Escape: p.session.escapeChar(), LossHint: p.lossHint(command.Target()), Limits: terminalLimits,
		IdleTimeout: p.session.idleTimeout, Notice: a.recordNotice(),
	}
	return interactive.RunCommand(ctx, command, options)
}

// connectAndPick connects to the server and, if p.pick is set, lets the user
// choose the pod from a list.
func (a *app) connectAndPick(ctx context.Context, p *execPlan) (*kubeconfig.Connection, *remote.Cluster, error) {
	kube, err := a.connect(ctx, connectOptions{needsReason: true})
	if err != nil {
		return nil, nil, err
	}
	if err := a.applySettings(p); err != nil {
		return nil, nil, err
	}
	cluster, err := remote.NewCluster(a.env(), kube.Config, p.protocolsChosen)
	if err != nil {
		return nil, nil, err
	}
	if p.pick != nil {
		return kube, cluster, a.pick(ctx, kube, cluster, p)
	}
	return kube, cluster, nil
}

// newCommand finds the container of the plan, opens the command's input, and
// returns the command.
func (a *app) newCommand(
	ctx context.Context, kube *kubeconfig.Connection, c *remote.Cluster, p *execPlan,
) (*remote.Command, error) {
	env := a.env()
	in, err := a.openInput(p)
	if err != nil {
		return nil, err
	}
	env.In = in
	if p.attach != nil {
		return a.newAttached(ctx, env, kube.Namespace, c, p)
	}
	request := pod.Request{Namespace: kube.Namespace, Target: p.target, Container: p.container}
	options := p.options()
	target, err := remote.ResolveLater(ctx, env, c, request, p.waitRunning, options)
	if err != nil {
		return nil, err
	}
	return remote.New(env, c, target, options)
}
