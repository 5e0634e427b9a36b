package main

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kshell/internal/doctor"
	"kshell/internal/headlamp"
	"kshell/internal/kubeconfig"
	"kshell/internal/nodeshell"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/settings"
	"kshell/internal/terminal"
)

// doctorFlags are the flags of doctor.
type doctorFlags struct {
	container, output string
	slow              time.Duration
}

const slowFlag = "slow"

// doctorLimit is doctor.Options.Limit. Tests change it.
var doctorLimit time.Duration

// newDoctor returns the command doctor.
func newDoctor(a *app) *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [POD | TYPE/NAME] [-c CONTAINER]",
		Short: "Check the configuration, the network, the login and the rights",
		Long: `Check whether kshell can work, and print what to do about each problem.

The checks are: the configuration and where each value comes from; DNS, TCP, proxy, TLS and the server's version; the
credentials and the user as which the server authenticates you; your rights for exec, node-shell and --resume; whether
WebSockets work between you and the server; the longest request line; the round trip.

Without POD, no command is run in a container. With POD, kshell runs the command true in it (with each subprotocol, if
WebSockets work), and checks whether exact mode and --resume are possible there.

The exit code is 0 if no check has failed, 1 if a check has failed, and 2 if kshell was called with wrong arguments.
Warnings do not change it. The output contains no credentials.`,
		Example: `  kshell doctor          check everything that needs no pod
  kshell doctor web      also run a command in pod web
  kshell doctor --slow   also find out when an idle connection is closed
  kshell doctor -o json  print a line of JSON for each check`,
		Annotations: map[string]string{commonFlags: `
Flags:
  -c, --container NAME     name of the container (default: the pod's default)
      --slow               also hold an idle connection open, up to 5 minutes
  -o, --output FORMAT      json: one line for each check
` + connectionGroup},
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := planDoctor(cmd, f, args)
			if err != nil {
				return err
			}
			return a.doctor(cmd.Context(), plan)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.container, "container", "c", "",
		"name of the container; default: the pod's default container, or its first")
	flags.StringVarP(&f.output, outputFlag, "o", "", "output format: json (one line for each check)")
	flags.DurationVar(&f.slow, slowFlag, 0,
		"hold an idle connection open, and report when it is closed; with a value, for at most this time")
	flags.Lookup(slowFlag).NoOptDefVal = "5m"
	a.completeDoctor(cmd)
	return cmd
}

// completeDoctor sets the completion of the arguments and flags of doctor.
func (a *app) completeDoctor(cmd *cobra.Command) {
	cmd.ValidArgsFunction = a.completeTarget
	fixed := cobra.FixedCompletions([]string{formatJSON}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("container", a.completeContainer) // the flags exist: no errors
	_ = cmd.RegisterFlagCompletionFunc(outputFlag, fixed)
	noFiles(cmd, cmd.Flags())
}

// doctorPlan is a parsed command line of doctor.
type doctorPlan struct {
	target    pod.Target
	named     bool // target is set
	container string
	json      bool
	slow      time.Duration
}

// planDoctor returns the plan of a command line.
func planDoctor(cmd *cobra.Command, f doctorFlags, args []string) (*doctorPlan, error) {
	p := &doctorPlan{container: f.container, json: f.output == formatJSON, slow: f.slow}
	switch {
	case len(args) > 1:
		return nil, usage(cmd, "more than one pod is named: "+strconv.Quote(args[0])+" and "+strconv.Quote(args[1]))
	case f.output != "" && !p.json:
		return nil, outcome.NewUsageError("unknown output format "+strconv.Quote(f.output), "-o json")
	case len(args) == 0 && f.container != "":
		return nil, usage(cmd, "-c needs a pod")
	}
	if err := notNegative(slowFlag, f.slow); err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return p, nil
	}
	var err error
	p.target, err = pod.ParseTarget(args[0])
	p.named = true
	return p, err
}

// doctor executes a plan.
func (a *app) doctor(ctx context.Context, p *doctorPlan) error {
	progress := a.notice.Progress()
	defer progress.End()
	update := func(text string) {
		if progress.InPlace() {
			progress.Update(text)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	text := &doctor.Text{Color: terminal.IsTerminal(a.Out) && notice.ColorAllowed()}
	env := a.env()
	env.In, env.Out, env.Err = strings.NewReader(""), io.Discard, io.Discard
	if a.notice.Verbosity == 0 { // the results contain what commands would print
		env.Notice = notice.New(io.Discard)
	}
	failed, err := doctor.Run(ctx, doctor.Options{
		Name: a.name, Program: doctorProgram{a}, Env: env, Hint: a.notice.CompleteHint,
		Target: p.target, Named: p.named, Container: p.container,
		NodeRights: nodeshell.RequiredRules(true, false), Agents: agentBuild() != "", Limit: doctorLimit, Slow: p.slow,
		Progress: update,
	}, func(id string) { update("checking " + id) }, func(r doctor.Result) {
		a.notice.WithoutProgress(func() {
			if p.json {
				_, _ = a.printed.Write(notice.JSON(r)) // a.printed keeps a write error
			} else {
				_, _ = io.WriteString(a.printed, text.Format(r))
			}
		})
		if a.printed.err != nil { // the other results cannot be printed either
			cancel()
		}
	})
	progress.End()
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	if !p.json {
		_, _ = io.WriteString(a.printed, text.Summary())
	}
	if failed > 0 {
		return &outcome.ReportedError{ExitCode: 1, Err: errors.New("a check has failed")}
	}
	return nil
}

// doctorProgram implements doctor.Program.
type doctorProgram struct{ app *app }

// Load implements doctor.Program.
func (p doctorProgram) Load() (*kubeconfig.Loaded, error) { return p.app.kube.Read() }

// Settings implements doctor.Program. The messages that readSettings prints are
// returned as Settings.Warnings.
func (p doctorProgram) Settings(loaded *kubeconfig.Loaded) (doctor.Settings, error) {
	a := p.app
	var messages lineWriter
	quiet := a.notice.Quiet
	undo := a.notice.Redirect(&messages)
	a.notice.Quiet = false
	file, err := a.readSettings(loaded)
	a.notice.Quiet = quiet
	undo()
	if err != nil {
		return doctor.Settings{}, err
	}
	s := a.settings
	a.headlamp.override(&s)
	if a.http != "" {
		s.HTTP = settings.Value{Key: s.HTTP.Key, Text: a.http, Source: "flag --" + httpFlag}
	}
	session := sessionFlags{keepalive: keepaliveDefault, escape: escapeDefault}
	if err := session.applySettings(a.settings); err != nil {
		return doctor.Settings{}, err
	}
	dirs, err := a.resumeDirs(nil)
	if err != nil {
		return doctor.Settings{}, err
	}
	result := doctor.Settings{
		File: file.Path(), Warnings: messages.lines, Keepalive: session.keepalive, ResumeDirs: dirs,
	}
	for _, v := range s.All() {
		if v.Text != "" {
			result.Values = append(result.Values, v)
		}
	}
	if a.kube.Namespace == "" {
		result.Namespace = s.Namespace
	}
	if source := a.headlamp.tokenSource(); source != "" {
		result.Values = append(result.Values, settings.Value{Key: "headlamp-token", Text: "(not shown)", Source: source})
	}
	return result, nil
}

// lineWriter collects messages of a notice.Printer, without their prefixes.
type lineWriter struct{ lines []string }

// Write implements io.Writer. Each Write is one message.
func (w *lineWriter) Write(b []byte) (int, error) {
	line := strings.TrimSpace(string(b))
	for _, prefix := range []string{"kshell: ", "warning: "} {
		line = strings.TrimPrefix(line, prefix)
	}
	w.lines = append(w.lines, line)
	return len(b), nil
}

// Server implements doctor.Program.
func (p doctorProgram) Server(loaded *kubeconfig.Loaded) (conn *kubeconfig.Connection, isHeadlamp bool, err error) {
	a := p.app
	if err := a.checkHTTPRule(a.settings.HTTP); err != nil {
		return nil, false, err
	}
	plan, err := a.headlamp.plan(&a.settings, &a.kube)
	if err != nil {
		return nil, false, err
	}
	if plan == nil {
		conn, err = a.connectDirect(loaded, connectOptions{})
		return conn, false, err
	}
	token, err := a.headlamp.token()
	if err != nil {
		return nil, true, err
	}
	conn, err = loaded.ConnectTo(kubeconfig.Server{
		URL: plan.address.Base, Source: plan.source, Secret: token != "" || plan.stateless != statelessNever,
	})
	if err != nil {
		return nil, true, err
	}
	return conn, true, conn.UseHTTPCredentials(a.httpRule())
}

// Connect implements doctor.Program.
func (p doctorProgram) Connect(
	ctx context.Context, loaded *kubeconfig.Loaded,
) (*kubeconfig.Connection, *headlamp.Server, error) {
	conn, err := p.app.connectLoaded(ctx, loaded, connectOptions{diagnosing: true})
	return conn, p.app.headlampServer, err
}
