package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/cleanup"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/stream"
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

// many is one command in several pods.
//
// Each pod's command is read by a goroutine of its own, which writes what it has read before it reads on: what waits is never more than a
// line and a read, for each stream. The goroutines share gate, images, folds and the status, each with a lock.
type many struct {
	*app
	plan    *execPlan
	cluster *remote.Cluster
	status  io.WriteCloser // nil for none
	gate    *gate
	images  remote.ImageCache
	folds   *folds // nil without --fold

	places  []remote.Target // sorted by pod, those in which nothing can be run included
	refused []error         // why nothing can be run there, beside places; nil where it can
	titles  []string
	nodes   []string // of a command on nodes; else empty ones

	// Of a command on nodes: enter makes a place what it is to be, and gives the command for there; left waits for what is cleared up meanwhile.
	enter func(ctx context.Context, m *many, i int) (command []string, leave func())
	left  func()

	saying sync.Mutex // the status
}

// execMany carries a plan for several pods out.
func (a *app) execMany(ctx context.Context, p *execPlan) error {
	return a.execManyBy(ctx, p, func(ctx context.Context, m *many) error { return m.gather(ctx) })
}

// execManyBy is execMany in places that gather finds.
func (a *app) execManyBy(ctx context.Context, p *execPlan, gather func(context.Context, *many) error) error {
	start := time.Now()
	status, err := p.script.openStatus()
	if err != nil {
		return err
	}
	if status != nil {
		defer func() { _ = status.Close() }() // what was not written has been said
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m := &many{app: a, plan: p, status: status, gate: newGate(a.streams, cancel)}
	defer a.notice.Redirect(m.gate.stderr())()
	for _, w := range p.warnings {
		a.notice.Warn("%s", w)
	}
	defer func() {
		if m.left != nil {
			m.left()
		}
	}()
	if err := outcome.ContextCause(ctx, gather(ctx, m)); err != nil {
		m.write(outcome.NewStatus(start, err))
		return err
	}
	if p.many.fold {
		m.folds = &folds{}
		defer m.folds.close()
	}
	return m.conclude(ctx, m.runAll(ctx))
}

// gather finds the pods.
func (m *many) gather(ctx context.Context) error {
	ctx, cancel := m.plan.script.limited(ctx)
	defer cancel()
	if err := rereadable(m.plan.script.stdinFile); err != nil {
		return err
	}
	kube, cluster, err := m.reach(ctx, m.plan)
	if err != nil {
		return err
	}
	m.cluster = cluster
	request := pod.Request{
		Namespace: kube.Namespace, Target: m.plan.target, Selector: m.plan.many.selector, Container: m.plan.container,
	}
	running, skipped, err := cluster.Pods().List(ctx, request)
	var unseen *pod.GetForbiddenError
	switch {
	case errors.As(err, &unseen):
		m.notice.Detail("pod %s was not checked: %s", request.Target.Name, unseen)
		m.add(remote.Target{Namespace: request.Namespace, Pod: request.Target.Name, Container: request.Container}, nil)
	case err != nil:
		return outcome.ContextCause(ctx, remote.ExplainForbidden(ctx, m.env(), cluster, err))
	}
	m.merge(request.Namespace, running, skipped)
	if len(m.places) > 1 && m.plan.stdin && m.plan.script.stdinFile == "" {
		return outcome.NewUsageError(
			fmt.Sprintf("-i is for one pod, and these are %d: one input cannot be given to all", len(m.places)),
			"--stdin-file FILE is read anew for each pod",
		)
	}
	return nil
}

// rereadable refuses a --stdin-file that can be read only once.
func rereadable(name string) error {
	if name == "" {
		return nil
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return fmt.Errorf("--stdin-file: %w", err)
	case info.IsDir():
		return fmt.Errorf("--stdin-file: %s is a directory", name)
	case info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0:
		return outcome.NewUsageError("--stdin-file "+name+" is a pipe, and each pod reads the file from its beginning", "put the input into a file")
	}
	return nil
}

// merge takes over what was found, in the order of the pods' names.
func (m *many) merge(namespace string, running []pod.Found, skipped []pod.Skipped) {
	said := map[string]bool{}
	for i := 0; i < len(running) || len(skipped) > 0; {
		if len(skipped) > 0 && (i == len(running) || skipped[0].Pod.Name < running[i].Pod.Name) {
			s := skipped[0]
			m.add(remote.Target{Namespace: namespace, Pod: s.Pod.Name, Container: m.plan.container, Found: &pod.Found{Pod: s.Pod}}, s.Err)
			skipped = skipped[1:]
			continue
		}
		found := &running[i]
		for _, note := range found.Notes {
			if !said[note] {
				m.notice.Note("%s", note)
			}
			said[note] = true
		}
		m.notice.Detail("pod %s, container %s, node %s", found.Pod.Name, found.Container, found.Pod.Spec.NodeName)
		m.add(remote.Target{Namespace: namespace, Pod: found.Pod.Name, Container: found.Container, Found: found}, nil)
		i++
	}
	m.titles = titles(m.places)
}

func (m *many) add(at remote.Target, refused error) {
	m.places, m.refused = append(m.places, at), append(m.refused, refused)
	m.titles, m.nodes = append(m.titles, notice.Clean(at.Pod)), append(m.nodes, "")
}

// titles are what the places are called: the pods, and the containers where these differ.
func titles(places []remote.Target) []string {
	containers := map[string]bool{}
	for _, at := range places {
		if at.Container != "" {
			containers[at.Container] = true
		}
	}
	called := make([]string, len(places))
	for i, at := range places {
		called[i] = notice.Clean(at.Pod)
		if len(containers) > 1 && at.Container != "" {
			called[i] += "/" + notice.Clean(at.Container)
		}
	}
	return called
}

// runAll runs the command in all places, so many at a time, and gives what came of it in their order.
func (m *many) runAll(ctx context.Context) []ended {
	ends := make([]ended, len(m.places))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(m.plan.many.parallel, len(ends)) {
		workers.Go(func() {
			defer m.cleanup.OnPanic()
			for i := int(next.Add(1)) - 1; i < len(ends); i = int(next.Add(1)) - 1 {
				ends[i] = m.runOne(ctx, i)
			}
		})
	}
	workers.Wait()
	return ends
}

// runOne runs the command in one place.
func (m *many) runOne(ctx context.Context, i int) ended {
	start := time.Now()
	ctx, cancel := m.plan.script.limited(ctx)
	defer cancel()
	m.wait(ctx, i)
	var command []string
	if m.enter != nil {
		var leave func()
		command, leave = m.enter(ctx, m, i)
		defer leave()
	}
	out, errs, last := m.outputs(i)
	var j *remote.Command
	err := m.refused[i]
	if err == nil {
		j, err = m.command(ctx, i, command, out, errs)
	}
	last(err)
	end := newEnded(m.titles[i], err)
	m.say(ctx, i, err)
	s := statusOf(j, start, err)
	s.Cause = end.Cause
	if j == nil {
		s.Namespace, s.Pod, s.Container = m.places[i].Namespace, m.places[i].Pod, m.places[i].Container
	}
	m.write(s)
	return end
}

// command makes a job of the plan for a place, and runs it; command, if there is one, in place of the plan's.
func (m *many) command(ctx context.Context, i int, command []string, out, errs io.Writer) (*remote.Command, error) {
	if ctx.Err() != nil {
		return nil, outcome.ContextCause(ctx, context.Cause(ctx))
	}
	env := m.env()
	env.Notice, env.Out, env.Err = m.notice.WithPrefix(m.titles[i]), out, errs
	if m.plan.script.stdinFile != "" {
		file, err := os.Open(m.plan.script.stdinFile)
		if err != nil {
			return nil, fmt.Errorf("--stdin-file: %w", err)
		}
		defer func() { _ = file.Close() }() // it was only read
		env.In = file
	}
	o := m.plan.options()
	o.Images, o.StrictStderr = &m.images, true
	if command != nil {
		o.Command = command
	}
	c, err := remote.New(env, m.cluster, m.places[i], o)
	if err != nil {
		return nil, err
	}
	return c, runCommand(ctx, c, &m.plan.live)
}

// say says why a pod's command has no exit code of its own.
func (m *many) say(ctx context.Context, i int, err error) {
	var signal cleanup.SignalError
	if m.gate.broken() != nil || errors.As(context.Cause(ctx), &signal) {
		return
	}
	n := m.notice
	if m.refused[i] == nil { // a refusal names the pod
		n = n.WithPrefix(m.titles[i])
	}
	printError(n, err)
}

// write says a status, if there is anybody to hear it.
func (m *many) write(s outcome.Status) {
	if m.status == nil {
		return
	}
	m.saying.Lock()
	defer m.saying.Unlock()
	if err := s.Write(unclosed{m.status}); err != nil {
		m.notice.WarnAlways("the status could not be written: %s", err)
	}
}

// unclosed is a file that takes more.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// conclude says what there is to say when all commands have ended, and how that was.
func (m *many) conclude(ctx context.Context, ends []ended) error {
	var signal cleanup.SignalError
	if errors.As(context.Cause(ctx), &signal) {
		return signal
	}
	var unread error
	if m.folds != nil {
		unread = m.folds.release(ends, m.gate)
	}
	if err := cmp.Or(m.gate.broken(), unread); err != nil {
		return &stream.OutputError{Err: err}
	}
	sum := &outcome.FanoutError{Pods: len(ends)}
	for _, end := range ends {
		sum.ExitCode = max(sum.ExitCode, end.ExitCode)
		if end.ExitCode != 0 {
			sum.Failed++
		}
	}
	tell := m.notice.Detail
	if sum.ExitCode != 0 {
		tell = m.notice.NoteAlways
	}
	for _, row := range table(ends) {
		tell("%s", row)
	}
	if sum.ExitCode == 0 {
		return nil
	}
	return sum
}

// outputs are where a place's command writes to. last is to be called when it has ended.
func (m *many) outputs(i int) (out, errs io.Writer, last func(error)) {
	at, title := m.places[i], m.titles[i]
	switch p := m.plan.many; {
	case p.fold:
		f := m.folds.fold()
		return &f.out, &f.err, func(err error) { m.folds.add(f, newEnded(title, err), m.refused[i] == nil) }
	case p.json:
		to := m.gate.stdout()
		o, e := newLines(to, jsonLine(at, m.nodes[i], "stdout")), newLines(to, jsonLine(at, m.nodes[i], "stderr"))
		return o, e, func(err error) {
			o.end()
			e.end()
			_, _ = to.Write(jsonEnd(at, m.nodes[i], newEnded(title, err), err)) // the gate remembers
		}
	default:
		o := newLines(m.gate.stdout(), prefixed(title, i, m.coloured(m.Out)))
		e := newLines(m.gate.stderr(), prefixed(title, i, m.coloured(m.Err)))
		return o, e, func(error) { o.end(); e.end() }
	}
}

// coloured says whether an output may have colours.
func (a *app) coloured(w io.Writer) bool { return terminal.IsTerminal(w) && notice.ColourAllowed() }
