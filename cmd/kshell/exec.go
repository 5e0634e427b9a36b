package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kshell/internal/interactive"
	"kshell/internal/kubeconfig"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/stream"
	"kshell/internal/terminal"
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
	waitFlags
	manifestFlags
	pickFlags
}

// newExec returns the command exec.
func newExec(a *app) *cobra.Command {
	var f execFlags
	return a.completeExec(f.command(func(cmd *cobra.Command, args []string) error {
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
	}))
}

// command returns the command exec, whose flags are stored in f.
func (f *execFlags) command(run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec [-it] [POD | TYPE/NAME | -f FILE] [-c CONTAINER] [-- COMMAND [ARG...]]",
		Short: "Open a shell or run a command in a pod's container",
		Long: `Open a shell or run a command in a container of a pod.

Without a command, and on a terminal, kshell opens a shell. TYPE is pod, deployment, replicaset, statefulset, daemonset,
job, replicationcontroller or service, or kubectl's short name for it. kshell chooses the best of its pods; with --pick,
you choose one from a list. If no pod is specified, and on a terminal, the list has all pods of the namespace.

With --all, the command is run in every pod of TYPE/NAME or of -l. Each line of output begins with the name of the pod.
The exit code is the highest of all pods. Pods that are not running and lost connections count as 255.`,
		Example: `  kshell exec web                              a shell in pod web
  kshell exec -it web -c app -- bash           another shell, in container app
  kshell exec deploy/web -- ps                 a command in a pod of deployment web
  kshell exec deploy/web --all -- uptime       in each of its pods, ten at a time
  kshell exec -l app=web --all --fold -- id    in all pods with a label, equal output printed once
  kshell exec -i web -- sh -c 'cat >f' <f      a command with local input`,
		ValidArgsFunction:     cobra.NoFileCompletions,
		DisableFlagsInUseLine: true,
		RunE:                  run,
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if args := cmd.Flags().Args(); len(args) > 1 { // the flag belongs to a command without --
			return outcome.NewUsageError(err.Error(), dashesHint(cmd, args[0], args[1]))
		}
		return usage(cmd, err.Error())
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
		"in exact mode, do not end the command when kshell exits or the connection is lost")
	f.shellFlags.addTo(flags)
	f.scriptFlags.addTo(flags)
	f.sessionFlags.addTo(flags)
	f.manyFlags.addTo(cmd)
	f.waitFlags.addTo(flags)
	f.manifestFlags.addTo(flags)
	f.pickFlags.addTo(flags)
	flags.StringSliceVar(&f.subprotocols, "subprotocol", nil,
		"offer only these WebSocket subprotocols, separated by commas: "+strings.Join(stream.Protocols(), ", "))
	for flag, values := range map[string][]string{
		"exact": exactModes, "reconnect": reconnectModes, "subprotocol": stream.Protocols(),
	} {
		fixed := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
		_ = cmd.RegisterFlagCompletionFunc(flag, fixed) // the flag exists: no error
	}
	return cmd
}

// terminals holds whether the local stdin and stdout are terminals.
type terminals struct{ in, out bool }

func (a *app) terminals() terminals {
	return terminals{in: terminal.IsTerminal(a.In), out: terminal.IsTerminal(a.Out)}
}

// execPlan is a parsed command line of exec.
type execPlan struct {
	path            string // the command as the user types it, such as "kshell exec"
	target          pod.Target
	manifest        string   // the value of -f, which replaces target
	container       string   // "": the default container
	command         []string // empty: a shell
	stdin, tty      bool
	env             commandEnv
	scripts         bool // kshell's scripts may be run in the container
	exact           exactPlan
	protocols       []string // subprotocols to offer
	protocolsChosen bool     // by --subprotocol
	inputEnds       bool     // stdin is passed, and is not a terminal
	script          scriptFlags
	session         sessionFlags
	many            *manyPlan // nil: one pod
	pick            *pickPlan // nil: no list
	warnings        []string
	waitRunning     time.Duration // how long to wait for a container that is not running
}

// planExec returns the plan of a command line.
func planExec(cmd *cobra.Command, f execFlags, args []string, local terminals) (*execPlan, error) {
	named, command := args, []string(nil)
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		named, command = args[:dash], args[dash:]
	}
	manifest, err := f.manifest(cmd, named)
	if err != nil {
		return nil, err
	}
	if manifest != "" {
		named = []string{"-f " + redactURL(manifest)}
	}
	many, err := f.planMany(cmd, named, command, f.tty)
	if err != nil {
		return nil, err
	}
	pick, err := f.planPick(cmd, &f.manyFlags, named, local)
	unnamed := len(named) == 0
	switch {
	case err != nil:
		return nil, err
	case unnamed: // the pod is chosen by a selector or from a list
		named = []string{"--pick"}
	case len(named) > 1:
		return nil, outcome.NewUsageError(
			"the command must be separated from the pod by --", dashesHint(cmd, named[0], named[1]),
		)
	}
	var target pod.Target
	if manifest == "" && !unnamed {
		target, err = pod.ParseTarget(named[0])
	}
	if err != nil {
		return nil, err
	}
	if err := f.scriptFlags.check(cmd); err != nil {
		return nil, err
	}
	if err := f.waitFlags.check(cmd); err != nil {
		return nil, err
	}
	local.in = local.in && f.stdinFile == ""
	p := &execPlan{
		path: cmd.CommandPath(), target: target, manifest: manifest, container: f.container, command: command,
		stdin: (f.stdin || f.stdinFile != "") && !f.noStdin, tty: f.tty,
		script: f.scriptFlags, session: f.sessionFlags, many: many, pick: pick, waitRunning: f.runningTimeout,
	}
	if f.all && !cmd.Flags().Changed("pod-running-timeout") { // a pod that crashes would delay all results
		p.waitRunning = 0
	}
	if len(command) == 0 {
		if !local.in || !local.out {
			return nil, outcome.NewUsageError(
				"no command is specified, and a shell needs a terminal at stdin and stdout",
				fmt.Sprintf("%s %s -- COMMAND", cmd.CommandPath(), named[0]),
			)
		}
		p.command, p.stdin, p.tty = nil, true, true
		if f.shell != "" {
			p.command = []string{f.shell}
		}
	}
	if err := p.checkManifest(); err != nil {
		return nil, err
	}
	if err := p.session.check(cmd); err != nil {
		return nil, err
	}
	if p.env, err = f.shellFlags.check(cmd); err != nil {
		return nil, err
	}
	p.dropUnusableTTY(local)
	if err := p.checkRepeatable(cmd); err != nil {
		return nil, err
	}
	if p.exact, err = planExact(cmd, f, p, local); err != nil {
		return nil, err
	}
	p.protocolsChosen, p.inputEnds = len(f.subprotocols) > 0, p.stdin && !local.in
	p.protocols, err = planProtocols(f.subprotocols)
	return p, err
}

// dashesHint returns the hint for a command that does not follow --. target is
// the pod or node.
func dashesHint(cmd *cobra.Command, target, command string) string {
	return fmt.Sprintf("put -- before the command: %s [FLAGS] %s -- %s ...", cmd.CommandPath(), target, command)
}

// dropUnusableTTY removes -t, with a warning, if stdin is not passed or is not
// a terminal, as kubectl does.
func (p *execPlan) dropUnusableTTY(local terminals) {
	switch {
	case !p.tty:
	case !p.stdin:
		p.tty = false
		p.warnings = append(p.warnings, "-t needs -i: running without a tty")
	case !local.in:
		p.tty = false
		p.warnings = append(p.warnings, "stdin is not a terminal: running without a tty")
	}
}

// planProtocols returns the subprotocols to offer: the values of --subprotocol,
// or all.
func planProtocols(chosen []string) ([]string, error) {
	names := stream.Protocols()
	for _, name := range chosen {
		if !slices.Contains(names, name) {
			return nil, outcome.NewUsageError("unknown subprotocol "+strconv.Quote(name), "one of "+strings.Join(names, ", "))
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	return names, nil
}

// exec executes a plan. When it returns, the command has ended and the terminal
// is restored.
func (a *app) exec(ctx context.Context, p *execPlan) (err error) {
	start := time.Now()
	status, err := p.script.openStatus()
	if err != nil {
		return err
	}
	var command *remote.Command
	defer func() {
		if statusErr := statusOf(command, start, err).Write(status); statusErr != nil {
			a.notice.WarnAlways("the status could not be written: %s", statusErr)
		}
	}()
	for _, w := range p.warnings {
		a.notice.Warn("%s", w)
	}
	kube, cluster, err := a.connectAndPick(ctx, p)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	ctx, cancel := p.script.limited(ctx) // does not include the time to choose
	defer cancel()
	if command, err = a.newCommand(ctx, kube, cluster, p); err != nil {
		return outcome.ContextCause(ctx, err)
	}
	options := interactive.Options{Escape: p.session.escapeChar(), Limits: terminalLimits}
	return interactive.RunCommand(ctx, command, options)
}

// connectAndPick connects to the server and, if the plan has a list, lets the
// user choose the pod.
func (a *app) connectAndPick(ctx context.Context, p *execPlan) (*kubeconfig.Connection, *remote.Cluster, error) {
	kube, err := a.connect()
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
	request := pod.Request{Namespace: kube.Namespace, Target: p.target, Container: p.container}
	target, err := remote.Resolve(ctx, env, c, request, p.waitRunning)
	if err != nil {
		return nil, err
	}
	return remote.New(env, c, target, p.options())
}

// options returns the options of the command.
func (p *execPlan) options() remote.Options {
	return remote.Options{
		Program: p.path, Command: p.command, Stdin: p.stdin, TTY: p.tty,
		Env: p.env.vars, Dir: p.env.dir, ShellEnv: forwardedEnv(os.Environ()),
		Scripts: p.scripts, Exact: p.exact.remoteMode(), KeepRunning: p.exact.keep, EndIfInputCut: p.exact.endIfInputCut,
		Protocols: p.protocols, ProtocolsChosen: p.protocolsChosen, InputEnds: p.inputEnds,
		Pod:       pod.Request{Target: p.target, Container: p.container},
		Reconnect: p.session.reconnectMode(), ReconnectTimeout: p.session.reconnectTimeout,
		ConnectTimeout: p.session.connectTimeout, Keepalive: p.session.keepalive, IdleKeepalive: !p.session.noIdleKeepalive,
	}
}

// applySettings applies the settings for which no flag or argument is given.
func (a *app) applySettings(p *execPlan) error {
	if shell := a.settings.Shell.Text; len(p.command) == 0 && shell != "" {
		p.command = []string{shell}
	}
	return p.session.applySettings(a.settings)
}
