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

// execFlags are exec's own.
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
	liveFlags
	waitFlags
	manifestFlags
	pickFlags
}

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

// command is exec's, with its flags in f.
func (f *execFlags) command(run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec [-it] [POD | TYPE/NAME | -f FILE] [-c CONTAINER] [-- COMMAND [ARG...]]",
		Short: "Open a shell or run a command in a pod's container",
		Long: `Open a shell or run a command in a container of a pod.

Without a command, and on a terminal, it opens a shell. TYPE is pod, deployment, replicaset, statefulset, daemonset, job,
replicationcontroller or service, or kubectl's short name for it; of its pods the best one is taken, or with --pick the one that
you choose from a list. Where none is named, on a terminal, the list is of all pods of the namespace.

With --all a command is run in every pod of TYPE/NAME or of -l. Each line of its output begins with the pod's name; the exit
code is 0 if it is so in all pods, else the highest. Pods that do not run count as 255, as lost connections do.`,
		Example: `  kshell exec web                              a shell in pod web
  kshell exec -it web -c app -- bash           another shell, in container app
  kshell exec deploy/web -- ps                 a command in a pod of deployment web
  kshell exec deploy/web --all -- uptime       in each of its pods, ten at a time
  kshell exec -l app=web --all --fold -- id    in all pods with a label, equal outputs joined
  kshell exec -i web -- sh -c 'cat >f' <f      a command with its input from here`,
		ValidArgsFunction:     cobra.NoFileCompletions,
		DisableFlagsInUseLine: true,
		RunE:                  run,
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if named := cmd.Flags().Args(); len(named) > 1 { // the flag is that of a command without dashes
			return outcome.NewUsageError(err.Error(), dashes(cmd, named[0], named[1]))
		}
		return usage(cmd, err.Error())
	})
	flags := cmd.Flags()
	flags.StringVarP(&f.container, "container", "c", "", "container name; default: the pod's default container, else its first")
	flags.BoolVarP(&f.stdin, "stdin", "i", false, "pass stdin to the container")
	flags.BoolVarP(&f.tty, "tty", "t", false, "stdin is a terminal (needs -i)")
	flags.StringVar(&f.exact, "exact", exactAuto, "exact mode, in which the command itself says how it ended: auto (where the image has sh), always, never")
	flags.BoolVar(&f.exactStdin, "exact-stdin", false,
		"end the command when its input is cut off, in exact mode; default: true when stdin is not a terminal")
	flags.BoolVar(&f.keep, "keep", false, "let the command run on when kshell ends or the connection is lost, in exact mode")
	f.shellFlags.addTo(flags)
	f.scriptFlags.addTo(flags)
	f.liveFlags.addTo(flags)
	f.manyFlags.addTo(cmd)
	f.waitFlags.addTo(flags)
	f.manifestFlags.addTo(flags)
	f.pickFlags.addTo(flags)
	flags.StringSliceVar(&f.subprotocols, "subprotocol", nil,
		"offer only these WebSocket subprotocols (comma separated): "+strings.Join(stream.Protocols(), ", "))
	_ = cmd.RegisterFlagCompletionFunc("exact", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return exactModes, cobra.ShellCompDirectiveNoFileComp // the flag is there: no error
	})
	_ = cmd.RegisterFlagCompletionFunc("reconnect", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return reconnects, cobra.ShellCompDirectiveNoFileComp // the flag is there: no error
	})
	_ = cmd.RegisterFlagCompletionFunc("subprotocol", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return stream.Protocols(), cobra.ShellCompDirectiveNoFileComp // the flag is there: no error
	})
	return cmd
}

// terminals says which of the local streams are terminals.
type terminals struct{ in, out bool }

func (a *app) terminals() terminals {
	return terminals{in: terminal.IsTerminal(a.In), out: terminal.IsTerminal(a.Out)}
}

// execPlan is what an exec command line asks for.
type execPlan struct {
	path       string // the command's, as the user has typed it
	target     pod.Target
	manifest   string // that says the target; empty if the command line did
	container  string
	command    []string // none: a shell
	stdin, tty bool
	around     surroundings
	scripted   bool // scripts of ours may be run
	exact      exactPlan
	offer      []string // subprotocols
	narrowed   narrowed // why the offer is not all there is
	script     scriptFlags
	live       liveFlags
	many       *manyPlan // nil: one pod
	pick       *pickPlan // nil: no list to choose from
	warnings   []string
	running    time.Duration // to wait for a container that does not run
}

// narrowed is why an offer of subprotocols is short.
type narrowed struct{ asked, ends bool }

// planExec makes the plan of a command line.
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
	case unnamed: // a selector or the user says which
		named = []string{"--pick"}
	case len(named) > 1:
		return nil, outcome.NewUsageError("a command is separated from the pod by --", dashes(cmd, named[0], named[1]))
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
	p := &execPlan{path: cmd.CommandPath(), target: target, container: f.container, command: command, stdin: f.stdin, tty: f.tty, script: f.scriptFlags, many: many, pick: pick}
	p.manifest, p.running = manifest, f.running
	if f.all && !cmd.Flags().Changed("pod-running-timeout") { // one that crashes would hold all up
		p.running = 0
	}
	p.stdin = (p.stdin || f.stdinFile != "") && !f.noStdin
	if len(command) == 0 {
		if !local.in || !local.out {
			return nil, outcome.NewUsageError(
				"no command was named, and a shell needs a terminal at both stdin and stdout",
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
	if err := f.liveFlags.check(cmd); err != nil {
		return nil, err
	}
	p.live = f.liveFlags
	if p.around, err = f.shellFlags.check(cmd); err != nil {
		return nil, err
	}
	p.settleTTY(local)
	if err := p.checkRepeat(cmd); err != nil {
		return nil, err
	}
	if p.exact, err = planExact(cmd, f, p, local); err != nil {
		return nil, err
	}
	p.narrowed = narrowed{asked: len(f.subprotocols) > 0, ends: p.stdin && !local.in}
	p.offer, err = offer(f.subprotocols)
	return p, err
}

// dashes is the hint for a command that does not stand behind --.
func dashes(cmd *cobra.Command, pod, command string) string {
	return fmt.Sprintf("put -- between the two, and all flags of kshell before it: %s [FLAGS] %s -- %s ...", cmd.CommandPath(), pod, command)
}

// settleTTY gives up a tty that cannot be had, as kubectl does, and says so.
func (p *execPlan) settleTTY(local terminals) {
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

// offer is what to offer of the subprotocols: those wanted, or all.
func offer(wanted []string) ([]string, error) {
	names := stream.Protocols()
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return nil, outcome.NewUsageError("unknown subprotocol "+strconv.Quote(name), "one of "+strings.Join(names, ", "))
		}
	}
	if len(wanted) > 0 {
		return wanted, nil
	}
	return names, nil
}

// exec carries a plan out, and returns when the command has ended and the terminal is as it was.
func (a *app) exec(ctx context.Context, p *execPlan) (err error) {
	start := time.Now()
	status, err := p.script.openStatus()
	if err != nil {
		return err
	}
	var command *remote.Command
	defer func() {
		if unsaid := statusOf(command, start, err).Write(status); unsaid != nil {
			a.notice.WarnAlways("the status could not be written: %s", unsaid)
		}
	}()
	for _, w := range p.warnings {
		a.notice.Warn("%s", w)
	}
	kube, cluster, err := a.reach(ctx, p)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	ctx, cancel := p.script.limited(ctx) // the time to choose does not count
	defer cancel()
	if command, err = a.prepare(ctx, kube, cluster, p); err != nil {
		return outcome.ContextCause(ctx, err)
	}
	return interactive.RunCommand(ctx, command, interactive.Options{Escape: p.live.escapeChar(), Limits: terminalLimits})
}

// reach connects to the server of the plan, and lets the user choose the pod if the
// plan says so.
func (a *app) reach(ctx context.Context, p *execPlan) (*kubeconfig.Connection, *remote.Cluster, error) {
	kube, err := a.connect()
	if err != nil {
		return nil, nil, err
	}
	if err := a.applySettings(p); err != nil {
		return nil, nil, err
	}
	cluster, err := remote.NewCluster(a.env(), kube.Config, p.narrowed.asked)
	if err != nil {
		return nil, nil, err
	}
	if p.pick != nil {
		return kube, cluster, a.pick(ctx, kube, cluster, p)
	}
	return kube, cluster, nil
}

// prepare finds the container of the plan, and opens the command's input.
func (a *app) prepare(ctx context.Context, kube *kubeconfig.Connection, c *remote.Cluster, p *execPlan) (*remote.Command, error) {
	env := a.env()
	in, err := a.openInput(p)
	if err != nil {
		return nil, err
	}
	env.In = in
	target, err := remote.Resolve(ctx, env, c, pod.Request{Namespace: kube.Namespace, Target: p.target, Container: p.container}, p.running)
	if err != nil {
		return nil, err
	}
	return remote.New(env, c, target, p.options())
}

// options returns the plan without what only the command line needs.
func (p *execPlan) options() remote.Options {
	return remote.Options{
		Program: p.path, Command: p.command, Stdin: p.stdin, TTY: p.tty,
		Env: p.around.env, Dir: p.around.dir, ShellEnv: carried(os.Environ()),
		Scripts: p.scripted, Exact: modeOf(p.exact.mode), KeepRunning: p.exact.keep, EndIfInputCut: p.exact.whole,
		Protocols: p.offer, ProtocolsChosen: p.narrowed.asked, InputEnds: p.narrowed.ends,
		Pod:       pod.Request{Target: p.target, Container: p.container},
		Reconnect: p.live.reconnectMode(), ReconnectTimeout: p.live.reconnectTimeout, ConnectTimeout: p.live.connectTimeout,
		Keepalive: p.live.keepalive, IdleKeepalive: !p.live.noIdleKeepalive,
	}
}

// applySettings applies the settings for which no flag or argument is given.
func (a *app) applySettings(p *execPlan) error {
	if shell := a.settings.Shell.Text; len(p.command) == 0 && shell != "" {
		p.command = []string{shell}
	}
	return p.live.applySettings(a.settings)
}
