package main

import (
	"context"
	"io"
	"math"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/fanout"
	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/terminal"
)

// manyFlags are the flags for one command in several pods or on several nodes.
type manyFlags struct {
	selector string
	all      bool
	parallel int
	fold     bool
	output   string
}

// The values of --output.
const (
	outputText = "text"
	outputJSON = "json"
	outputYAML = "yaml" // only with --dry-run of node-shell
)

// defaultParallel is the default of --max-parallel.
const defaultParallel = 10

func (f *manyFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.selector, "selector", "l", "",
		"select pods by labels, as in kubectl: app=web,tier!=db (with --all)")
	flags.BoolVar(&f.all, "all", false,
		"run the command in all pods of TYPE/NAME or of -l; the name of the pod is printed before each line of output")
	flags.IntVar(&f.parallel, "max-parallel", defaultParallel,
		"how many pods run the command at the same time, with --all")
	flags.BoolVar(&f.fold, "fold", false,
		"print the output when all commands have ended, once for pods with the same output and exit code; with --all")
	flags.StringVarP(&f.output, "output", "o", outputText,
		"text, or json: one line of JSON for each line of output and for the end of each command; with --all")
	_ = cmd.RegisterFlagCompletionFunc("output", // no error: the flag exists
		cobra.FixedCompletions([]string{outputText, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
}

// manyPlan holds the parsed manyFlags. It is nil without --all.
type manyPlan struct {
	selector   string
	parallel   int
	fold, json bool
}

// planMany returns the plan of the flags. The parameter named has the arguments
// before --, and command has the arguments after --.
func (f *manyFlags) planMany(cmd *cobra.Command, named, command []string, tty bool) (*manyPlan, error) {
	f.selector = strings.TrimSpace(f.selector)
	switch {
	case len(named) > 1: // the caller returns the error
		return nil, nil
	case !f.all:
		return nil, f.unused(cmd)
	case len(named) == 0 && f.selector == "":
		return nil, usage(cmd, "--all needs TYPE/NAME or -l LABEL=VALUE")
	case len(named) > 0 && f.selector != "":
		return nil, usage(cmd, "-l and "+named[0]+" cannot be used together")
	case len(command) == 0:
		return nil, outcome.NewUsageError("--all needs a command: a shell can be opened in one pod only", "add -- COMMAND")
	case tty:
		return nil, outcome.NewUsageError(
			"--all and -t cannot be used together: a tty can be used with one pod only", "omit -t",
		)
	case f.parallel < 1:
		return nil, usage(cmd, "--max-parallel must be at least 1, got "+strconv.Itoa(f.parallel))
	case f.output != outputText && f.output != outputJSON:
		return nil, outcome.NewUsageError("unknown --output "+strconv.Quote(f.output), "one of "+outputText+", "+outputJSON)
	case f.fold && f.output == outputJSON:
		return nil, usage(cmd, "--fold and --output json cannot be used together")
	}
	return &manyPlan{selector: f.selector, parallel: f.parallel, fold: f.fold, json: f.output == outputJSON}, nil
}

// unused returns an error if a flag is given that needs --all. It is called
// only if --all is not given.
func (f *manyFlags) unused(cmd *cobra.Command) error {
	picks, _ := cmd.Flags().GetBool("pick") // false without a flag --pick, as in node-shell
	if f.selector != "" && !picks {
		return outcome.NewUsageError("-l may select several pods, but the command runs in one",
			"add --all to run a command in all of them, or --pick to choose one")
	}
	var found string
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		switch flag.Name {
		case "max-parallel", "fold", "output":
			found = flag.Name
		}
	})
	if found == "" {
		return nil
	}
	return usage(cmd, "--"+found+" needs --all")
}

// execMany runs the plan's command in several pods.
func (a *app) execMany(ctx context.Context, p *execPlan) error {
	for _, w := range p.warnings {
		a.notice.Warn("%s", w)
	}
	var kube *kubeconfig.Connection
	var cluster *remote.Cluster
	defer func() {
		if cluster != nil {
			cluster.Close()
		}
	}()
	return a.runMany(ctx, p, func(ctx context.Context) ([]fanout.Target, error) {
		var err error
		if kube, cluster, err = a.connectAndPick(ctx, p); err != nil {
			return nil, err
		}
		ctx = remote.RetryRefused(ctx, a.env(), p.session.connectTimeout)
		return fanout.FindPods(ctx, a.fanoutSettings(p, cluster), pod.Request{
			Namespace: kube.Namespace, Target: p.target, Selector: p.many.selector, Container: p.container,
		})
	}, func(n int) error {
		return a.confirmContext(ctx, kube, manyAction(p.command, "in", n, "pod")+", namespace "+kube.Namespace)
	})
}

// runMany runs the plan's command in the containers that find returns. confirm
// is called with their number before the first command is run; if it returns an
// error, no command is run. --timeout limits the time of find and, separately,
// the time of each command.
func (a *app) runMany(
	ctx context.Context, p *execPlan, find func(context.Context) ([]fanout.Target, error), confirm func(n int) error,
) error {
	start := time.Now()
	status, err := p.script.openStatus()
	if err != nil {
		return err
	}
	limited, cancel := p.script.limited(ctx)
	defer cancel()
	var targets []fanout.Target
	if err = fanout.CheckStdinFile(p.script.stdinFile); err == nil {
		targets, err = find(limited)
	}
	if err != nil {
		err = outcome.ContextCause(limited, err)
	} else {
		err = confirm(len(targets))
	}
	if err != nil {
		record := outcome.NewStatus(start, err)
		record.AuditID = a.auditID
		if statusErr := record.Write(status); statusErr != nil {
			a.notice.WarnAlways("the status could not be written: %s", statusErr)
		}
		return err
	}
	o := fanout.Options{
		Parallel: p.many.parallel, Timeout: p.script.timeout,
		Stdout: a.Out, ColorStdout: colored(a.Out), TerminalStdout: terminal.IsTerminal(a.Out),
		Stderr: a.Err, ColorStderr: colored(a.Err), TerminalStderr: terminal.IsTerminal(a.Err),
		Notice: a.notice, AuditID: a.auditID,
	}
	switch {
	case p.many.fold:
		o.Format = fanout.Folded
	case p.many.json:
		o.Format = fanout.JSON
	}
	if status != nil {
		o.Status = status
		defer func() { _ = status.Close() }() // fanout reports write errors
	}
	defer limitMemory(min(o.Parallel, len(targets)), len(targets))()
	return fanout.Run(ctx, targets, o)
}

// limitMemory sets the memory limit of the garbage collector to an estimate of what
// the program, the parallel connections and the pods need. Without a limit, the
// collector runs when the memory in use has doubled. restore sets the previous
// limit. If the variable GOMEMLIMIT is set, limitMemory does nothing.
func limitMemory(parallel, pods int) (restore func()) {
	const ( // in bytes
		program    = 14 << 20
		connection = 100 << 10
		pod        = 4 << 10
	)
	old := debug.SetMemoryLimit(-1) // returns the limit
	if old != math.MaxInt64 {
		return func() {}
	}
	debug.SetMemoryLimit(program + int64(parallel)*connection + int64(pods)*pod)
	return func() { debug.SetMemoryLimit(old) }
}

// fanoutSettings returns the settings of the plan's commands, which share one
// connection for the watches of their pods.
func (a *app) fanoutSettings(p *execPlan, c *remote.Cluster) *fanout.Settings {
	c.ShareWatches()
	return &fanout.Settings{
		Env: a.env(), Cluster: c, Options: p.options(), StdinFile: p.script.stdinFile, WaitRunning: p.waitRunning,
	}
}

// colored reports whether text on w may have colors.
func colored(w io.Writer) bool { return terminal.IsTerminal(w) && notice.ColorAllowed() }
