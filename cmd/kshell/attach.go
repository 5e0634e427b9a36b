package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/picker"
	"kshell/internal/remote"
	"kshell/internal/resume"
	"kshell/internal/stream"
)

// attachPlan is the part of an execPlan for --attach.
type attachPlan struct {
	id    string // of the session, or its beginning; "": the only one, or chosen from a list
	local terminals

	session *resume.Info // set when the session was found
}

// notWithAttach are the flags that describe the start of a command. They cannot
// be used with --attach.
var notWithAttach = []string{
	"all", "selector", "fold", "output", "max-parallel", "pick", filenameFlag, "shell", "env", "workdir", "exact",
	"exact-stdin", "keep", "stdin-file", resumeBufferFlag, resumeTimeoutFlag,
}

// planAttach returns the plan of a command line with --attach. named has the
// arguments before --.
func planAttach(cmd *cobra.Command, f *execFlags, named []string, local terminals) (*execPlan, error) {
	for _, name := range notWithAttach {
		if changed(cmd, name) {
			return nil, usage(cmd, "--attach and --"+name+" cannot be used together: the session is already running")
		}
	}
	form := fmt.Sprintf("type `%s --attach POD [ID]`", cmd.CommandPath())
	switch {
	case cmd.ArgsLenAtDash() >= 0 && cmd.ArgsLenAtDash() < len(cmd.Flags().Args()):
		return nil, outcome.NewUsageError(
			"--attach and a command cannot be used together: the session is already running", form)
	case len(named) > 2:
		return nil, outcome.NewUsageError("--attach needs one pod and one ID", form)
	case len(named) == 0 && (!local.in || !local.out):
		return nil, outcome.NewUsageError("no pod is specified", form)
	case f.resume == resumeNever:
		return nil, usage(cmd, "--attach and --resume=never cannot be used together")
	}
	p := &execPlan{
		path: cmd.CommandPath(), container: f.container, scripts: true, exact: exactPlan{mode: exactNever},
		script: f.scriptFlags, session: f.sessionFlags, protocolsChosen: len(f.subprotocols) > 0,
		attach: &attachPlan{local: local},
	}
	var err error
	if p.resume, err = f.planResume(cmd, f); err != nil {
		return nil, err
	}
	if len(named) > 0 {
		if p.target, err = parseTarget(cmd, named[0], nil); err != nil {
			return nil, err
		}
	}
	if len(named) > 1 {
		p.attach.id = named[1]
	}
	if err := cmp.Or(f.scriptFlags.check(cmd), p.session.check(cmd)); err != nil {
		return nil, err
	}
	p.protocols, err = planProtocols(f.subprotocols)
	return p, err
}

// newAttached finds the session of the plan, and returns the command that
// attaches to it.
func (a *app) newAttached(
	ctx context.Context, env remote.Env, namespace string, c *remote.Cluster, p *execPlan,
) (*remote.Command, error) {
	plan := &sessionsPlan{target: p.target, container: p.container, dirs: p.resume.dirs, parallel: defaultParallel}
	found, failed, err := a.findSessions(ctx, c, namespace, plan)
	if err != nil {
		return nil, err
	}
	s, err := a.attachTo(ctx, p, found, plan.where(namespace))
	if err != nil {
		for _, other := range failed {
			a.notice.WarnAlways("%s", other)
		}
		return nil, err
	}
	t := s.command.Target()
	if p.attach.id != s.Session {
		a.notice.Note("attaching to session %s in %s", s.Session, describeTarget(t))
	}
	if s.Terminal && (!p.attach.local.in || !p.attach.local.out) {
		return nil, outcome.NewUsageError(
			"session "+s.Session+" has a terminal: --attach needs a terminal at stdin and stdout",
			"call it on a terminal, and do not redirect stdin and stdout")
	}
	p.attach.session, p.tty, p.stdin = &s.Info, s.Terminal, s.Terminal
	return remote.New(env, c, t, p.options())
}

// attachTo returns the session to attach to: that of the ID, or the only one, or
// the one that the user chooses from a list. where is for messages; see
// sessionsPlan.where.
func (a *app) attachTo(ctx context.Context, p *execPlan, found []foundSession, where string) (*foundSession, error) {
	if p.attach.id != "" {
		s, err := a.chooseSession(found, p.attach.id)
		if err == nil && !s.SameMounts {
			return nil, fmt.Errorf("session %s is in another container of pod %s: omit -c", s.Session, s.command.Target().Pod)
		}
		return s, err
	}
	found = slices.DeleteFunc(found, func(s foundSession) bool { return !s.SameMounts })
	switch {
	case len(found) == 0:
		return nil, notice.WithHint(fmt.Errorf("there are no sessions%s", where),
			"`"+p.path+" --resume POD` starts one")
	case len(found) == 1:
		return &found[0], nil
	case !p.attach.local.in || !p.attach.local.out:
		var lines []string
		for i := range found {
			s := &found[i]
			row := newSessionRow(s)
			lines = append(lines, fmt.Sprintf("`%s` attaches to %s, started %s ago",
				s.command.AttachLine(s.Session), notice.Clean(row.program()), row.age(time.Now())))
		}
		return nil, outcome.NewUsageError(
			fmt.Sprintf("there are %d sessions%s", len(found), where), strings.Join(lines, "\n"))
	}
	list := picker.List{Title: "sessions", Header: []string{"ID", "POD", "CONTAINER", "AGE", "STATUS", "COMMAND"}}
	for i := range found {
		row := newSessionRow(&found[i])
		cells := row.cells(false, time.Now())
		for j := range cells {
			cells[j] = notice.Clean(cells[j])
		}
		list.Rows = append(list.Rows, cells)
	}
	i, err := a.choose(ctx, list)
	if err != nil {
		return nil, err
	}
	return &found[i], nil
}

// startDetached starts the command, leaves it running, and prints the ID of its
// session to stdout, for scripts.
func (a *app) startDetached(ctx context.Context, command *remote.Command) error {
	id, err := command.StartDetached(ctx)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.Out, id); err != nil {
		return &stream.OutputError{Err: err}
	}
	a.notice.Note("session %s was started in %s", id, describeTarget(command.Target()))
	if !a.notice.Quiet {
		a.notice.Hint("`%s` attaches to it", command.AttachLine(id))
	}
	return nil
}
