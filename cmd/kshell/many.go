package main

import (
	"context"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/fanout"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/terminal"
)

// manyFlags are for a command in several pods at once.
type manyFlags struct {
	selector string
	all      bool
	parallel int
	fold     bool
	output   string
}

// What --output may be.
const (
	outputText = "text"
	outputJSON = "json"
)

// parallelPods is how many pods run the command at the same time, unless --max-parallel says otherwise.
const parallelPods = 10

func (f *manyFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.selector, "selector", "l", "", "the pods with these labels, as kubectl has it: app=web,tier!=db (with --all)")
	flags.BoolVar(&f.all, "all", false, "run the command in all pods of TYPE/NAME or of -l; each line of output begins with its pod")
	flags.IntVar(&f.parallel, "max-parallel", parallelPods, "in so many pods at the same time, with --all")
	flags.BoolVar(&f.fold, "fold", false, "join the pods whose output and exit code are the same, at the end, with --all")
	flags.StringVarP(&f.output, "output", "o", outputText, "text, or json: a line of JSON for each line of output and for each pod's end, with --all")
	_ = cmd.RegisterFlagCompletionFunc("output", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{outputText, outputJSON}, cobra.ShellCompDirectiveNoFileComp // the flag is there: no error
	})
}

// manyPlan is what is asked for beside the command; nil for one pod.
type manyPlan struct {
	selector   string
	parallel   int
	fold, json bool
}

// planMany settles the flags for what stands before and behind the --.
func (f *manyFlags) planMany(cmd *cobra.Command, named, command []string, tty bool) (*manyPlan, error) {
	f.selector = strings.TrimSpace(f.selector)
	switch {
	case len(named) > 1: // which the caller explains
		return nil, nil
	case !f.all:
		return nil, f.unused(cmd)
	case len(named) == 0 && f.selector == "":
		return nil, usage(cmd, "all of which pods? --all needs TYPE/NAME or -l LABEL=VALUE")
	case len(named) > 0 && f.selector != "":
		return nil, usage(cmd, "-l and "+named[0]+" cannot be used together")
	case len(command) == 0:
		return nil, outcome.NewUsageError("--all needs a command: a shell is for one pod", "put -- COMMAND behind it")
	case tty:
		return nil, outcome.NewUsageError("--all has no tty: the lines of several pods come out of it", "leave -t out")
	case f.parallel < 1:
		return nil, usage(cmd, "--max-parallel "+strconv.Itoa(f.parallel)+" runs nothing")
	case f.output != outputText && f.output != outputJSON:
		return nil, outcome.NewUsageError("unknown --output "+strconv.Quote(f.output), "one of "+outputText+", "+outputJSON)
	case f.fold && f.output == outputJSON:
		return nil, usage(cmd, "--fold is for people, --output json for programs: they do not go together")
	}
	return &manyPlan{selector: f.selector, parallel: f.parallel, fold: f.fold, json: f.output == outputJSON}, nil
}

// unused refuses what means nothing without --all.
func (f *manyFlags) unused(cmd *cobra.Command) error {
	if picks, _ := cmd.Flags().GetBool("pick"); f.selector != "" && !picks { // the flag is there: no error
		return outcome.NewUsageError("-l finds several pods: which of them is meant?", "add --all to run a command in all of them, or --pick to choose one")
	}
	var stray string
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		switch flag.Name {
		case "max-parallel", "fold", "output":
			stray = flag.Name
		}
	})
	if stray == "" {
		return nil
	}
	return usage(cmd, "--"+stray+" is for several pods: it needs --all")
}

// execMany runs the plan's command in several pods.
func (a *app) execMany(ctx context.Context, p *execPlan) error {
	for _, w := range p.warnings {
		a.notice.Warn("%s", w)
	}
	return a.runMany(ctx, p, func(ctx context.Context) ([]fanout.Target, error) {
		kube, cluster, err := a.reach(ctx, p)
		if err != nil {
			return nil, err
		}
		return fanout.FindPods(ctx, a.fanoutSettings(p, cluster), pod.Request{
			Namespace: kube.Namespace, Target: p.target, Selector: p.many.selector, Container: p.container,
		})
	})
}

// runMany runs the plan's command in the containers that find returns. find has the time
// limit of --timeout, as each of the commands.
func (a *app) runMany(ctx context.Context, p *execPlan, find func(context.Context) ([]fanout.Target, error)) error {
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
		if statusErr := outcome.NewStatus(start, err).Write(status); statusErr != nil {
			a.notice.WarnAlways("the status could not be written: %s", statusErr)
		}
		return err
	}
	o := fanout.Options{
		Parallel: p.many.parallel, Timeout: p.script.timeout,
		Stdout: a.Out, ColorStdout: colored(a.Out),
		Stderr: a.Err, ColorStderr: colored(a.Err),
		Notice: a.notice,
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
	return fanout.Run(ctx, targets, o)
}

// fanoutSettings returns the settings of the plan's commands.
func (a *app) fanoutSettings(p *execPlan, c *remote.Cluster) *fanout.Settings {
	return &fanout.Settings{
		Env: a.env(), Cluster: c, Options: p.options(), StdinFile: p.script.stdinFile, WaitRunning: p.running,
	}
}

// colored reports whether text on w may have colors.
func colored(w io.Writer) bool { return terminal.IsTerminal(w) && notice.ColourAllowed() }
