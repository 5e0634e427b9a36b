package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/script"
	"kshell/internal/stream"
	"kshell/internal/terminal"
)

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
	resume          resumePlan
	attach          *attachPlan // nil without --attach
	protocols       []string    // subprotocols to offer
	protocolsChosen bool        // by --subprotocol
	inputEnds       bool        // stdin is passed to the command and may end, because it is not a terminal
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
	if err := f.checkResumeWord(cmd, named); err != nil {
		return nil, err
	}
	if f.attach {
		return planAttach(cmd, &f, named, local)
	}
	manifest, err := f.manifest(cmd, named)
	if err != nil {
		return nil, err
	}
	if manifest != "" {
		named = []string{"-f " + script.Quote(redactURL(manifest))}
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
	case unnamed: // no pod is named; in hints, --pick takes the place of the name
		named = []string{"--pick"}
	case len(named) == 2 && namesCommand(command) && isTypeAndName(named[0], named[1]):
		return nil, typeApart(cmd, named[0], named[1], command)
	case len(named) > 1 && namesCommand(command):
		return nil, severalNamed(cmd, "pod", named, command, "TYPE/NAME or -l LABEL=VALUE, and --all")
	case len(named) > 1:
		return nil, outcome.NewUsageError(
			"the command must be separated from the pod by --", dashesHint(cmd, named[0], named[1]),
		)
	}
	var target pod.Target
	if manifest == "" && !unnamed {
		target, err = parseTarget(cmd, named[0], command)
	}
	if err != nil {
		return nil, err
	}
	if err := f.scriptFlags.check(cmd); err != nil {
		return nil, err
	}
	if err := f.waitFlags.check(); err != nil {
		return nil, err
	}
	local.in = local.in && f.stdinFile == ""
	p := &execPlan{
		path: cmd.CommandPath(), target: target, manifest: manifest, container: f.container, command: command,
		stdin: (f.stdin || f.stdinFile != "") && !f.noStdin, tty: f.tty,
		script: f.scriptFlags, session: f.sessionFlags, many: many, pick: pick, waitRunning: f.runningTimeout,
	}
	if f.all && !cmd.Flags().Changed("pod-running-timeout") { // waiting for a pod that crashes would delay all results
		p.waitRunning = 0
	}
	if len(command) == 0 {
		if (!local.in || !local.out) && !f.detach {
			return nil, outcome.NewUsageError(
				"no command is specified, and a shell needs a terminal at stdin and stdout",
				fmt.Sprintf("type `%s %s -- COMMAND`", cmd.CommandPath(), quoteTarget(named[0])),
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
	if p.resume, err = f.planResume(cmd, &f); err != nil {
		return nil, err
	}
	if p.resume.detach {
		p.stdin = p.tty
	} else {
		p.dropUnusableTTY(local)
	}
	if err := p.checkRepeatable(cmd); err != nil {
		return nil, err
	}
	if p.exact, err = planExact(cmd, f, p, local); err != nil {
		return nil, err
	}
	p.protocolsChosen, p.inputEnds = len(f.subprotocols) > 0, p.stdin && !local.in && !p.resume.detach
	p.protocols, err = planProtocols(f.subprotocols)
	return p, err
}

// dropUnusableTTY sets p.tty to false and adds a warning, as kubectl does, if
// stdin is not passed to the command or is not a terminal.
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

// options returns the options of the command.
func (p *execPlan) options() remote.Options {
	o := remote.Options{
		Program: p.path, Command: p.command, Stdin: p.stdin, TTY: p.tty,
		Env: p.env.vars, Dir: p.env.dir, ShellEnv: forwardedEnv(os.Environ()),
		Scripts: p.scripts, Exact: p.exact.remoteMode(), KeepRunning: p.exact.keep, EndIfInputCut: p.exact.endIfInputCut,
		Protocols: p.protocols, ProtocolsChosen: p.protocolsChosen, InputEnds: p.inputEnds,
		Pod:       pod.Request{Target: p.target, Container: p.container},
		Reconnect: p.session.reconnectMode(), ReconnectTimeout: p.session.reconnectTimeout,
		ConnectTimeout: p.session.connectTimeout, Keepalive: p.session.keepalive, IdleKeepalive: !p.session.noIdleKeepalive,
		Resume: p.resume.remoteMode(), ResumeDirs: p.resume.dirs,
		ResumeBuffer: p.resume.buffer, ResumeTimeout: p.resume.timeout,
	}
	if p.attach != nil {
		o.Attach = p.attach.session
	}
	return o
}

// applySettings applies the settings for which no flag or argument is given.
func (a *app) applySettings(p *execPlan) error {
	if shell := a.settings.Shell.Text; len(p.command) == 0 && shell != "" {
		p.command = []string{shell}
	}
	if err := p.session.applySettings(a.settings); err != nil {
		return err
	}
	return a.applyResumeSettings(p)
}

// The values of --exact.
const (
	exactAuto   = "auto"
	exactAlways = "always"
	exactNever  = "never"
)

var exactModes = []string{exactAuto, exactAlways, exactNever}

// exactPlan holds the options of exact mode; see internal/exact.
type exactPlan struct {
	mode          string // a value of --exact
	endIfInputCut bool
	keep          bool
}

// planExact checks the flags of exact mode and returns its options. Exact mode
// is not used on a tty, where stdout and stderr are one stream.
func planExact(cmd *cobra.Command, f execFlags, p *execPlan, local terminals) (exactPlan, error) {
	e := exactPlan{mode: f.exact, endIfInputCut: f.exactStdin, keep: f.keep}
	if !cmd.Flags().Changed("exact-stdin") {
		e.endIfInputCut = !local.in
	}
	switch {
	case !slices.Contains(exactModes, f.exact):
		return e, outcome.NewUsageError(
			"unknown --exact "+strconv.Quote(f.exact), "one of "+strings.Join(exactModes, ", "),
		)
	case p.tty && f.exact == exactAlways:
		return e, usage(cmd, "--exact=always is for commands without a tty")
	case f.exact == exactNever && !p.env.empty():
		return e, usage(cmd, "--env and --workdir need a script, which --exact=never does not allow")
	}
	// sh would take a command that begins with "-" for an option.
	p.scripts = f.exact != exactNever && (len(p.command) == 0 || !strings.HasPrefix(p.command[0], "-"))
	if p.tty || !p.scripts {
		e.mode = exactNever
	}
	return e, nil
}

// remoteMode returns the mode for remote.Options.
func (e exactPlan) remoteMode() remote.ExactMode {
	switch e.mode {
	case exactAlways:
		return remote.ExactAlways
	case exactNever:
		return remote.ExactNever
	}
	return remote.ExactAuto
}
