package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/cleanup"
	"kshell/internal/exact"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// Terminal is the local terminal of a command with a tty. internal/interactive
// implements it.
type Terminal interface {
	// Output returns the writer for the remote output.
	Output() io.Writer
	// Run runs one session on the terminal with d and s. It adds stdin and the
	// reconnect policy of a terminal to s. Its errors are those of
	// stream.Session.Run, or outcome.ErrLeft or an *outcome.GaveUpError.
	Run(ctx context.Context, d stream.Driver, s stream.Settings) error
}

// shellStartTimeout is how long a new shell may take to report its process ID.
const shellStartTimeout = 20 * time.Second

// RunTTY runs the command, or a shell, on the terminal. Its errors are those of
// Run.
func (c *Command) RunTTY(ctx context.Context, t Terminal) error {
	return c.explainRefused(ctx, c.whileResolving(ctx, func() error { return c.runTTY(ctx, t) }))
}

func (c *Command) runTTY(ctx context.Context, t Terminal) error {
	switch {
	case c.options.Attach != nil:
		return c.attach(ctx, func() error { return c.runAgentOnTerminal(ctx, t) })
	case c.options.Resume != ResumeNever:
		ran, err := c.runTTYByAgent(ctx, t)
		if ran {
			return err
		}
	}
	if c.options.Scripts && c.Target().os() != corev1.Windows {
		ran, err := c.runShellScript(ctx, t)
		if ran {
			return err
		}
	}
	commands, err := c.commandsWithoutScript(ctx)
	if err != nil {
		return err
	}
	for _, command := range commands {
		d := &driver{cmd: c, request: func(t Target) stream.Request {
			return t.Exec(command, true, true, c.options.Protocols)
		}}
		err = c.explain(c.envMissing(c.runOnTerminal(ctx, t, d)), false)
		if !isNotFound(err) {
			return err
		}
	}
	if len(c.options.Command) > 0 {
		return err
	}
	return c.noShellError(err)
}

// runShellScript runs the command with the script that sets the variables of
// the local user and reports the process ID of the shell. If ran is false, the
// script could not run, and the command was not started.
func (c *Command) runShellScript(ctx context.Context, t Terminal) (ran bool, err error) {
	o := &c.options
	var shell *exact.Shell
	err = c.bySh(func() error {
		shell = exact.NewShell(append(append([]string(nil), o.ShellEnv...), o.Env...), o.Dir)
		return c.runOnTerminal(ctx, t, &driver{cmd: c, shell: shell, request: func(t Target) stream.Request {
			return t.Exec(c.withShPath(shell.Command(o.Command)), true, true, o.Protocols)
		}})
	})
	c.noSh = isNotFound(err)
	state := shell.State()
	why := whyNotStarted(state, err)
	switch {
	case state == exact.NoDirectory:
		return true, c.noDirectoryError()
	case state == exact.NoCommand && o.hasEnvironment():
		return true, c.explain(errNoCommand, false)
	case state == exact.NotStarted && o.hasEnvironment():
		return true, errEnvironmentNotSet
	case why != "":
		c.env.Notice.Detail("the shell is opened without kshell's script: %s", why)
		return false, nil
	case state == exact.Unknown:
		err = c.confirmed(err, false, "")
	}
	return true, c.explain(err, false)
}

// runOnTerminal runs a session on the terminal. If kshell's script started the
// shell, runOnTerminal ends the shell and its processes when the user leaves or
// the connection is lost. If the last attempt to open a connection failed, it
// does not try to end them, because another connection would probably fail,
// too, and kshell would exit later.
func (c *Command) runOnTerminal(ctx context.Context, t Terminal, d *driver) error {
	d.ctx, d.watch = ctx, c.newPodWatch()
	defer d.watch.end()
	defer c.hangUps.Wait()
	s := c.Settings()
	s.Stdout = t.Output()
	if d.shell != nil {
		s.Stdout, s.Proof, s.WithOutput = d.shell.Output(s.Stdout), shellStartTimeout, true
	}
	err := t.Run(ctx, d, s)
	left := ctx.Err() != nil || isLeft(err)
	if d.shell != nil && left && !c.options.KeepRunning && !d.failed && d.opened == c.Target() {
		c.terminate(ctx, d.opened, d.shell.HangUpCommand())
	}
	return outcome.ContextCause(ctx, err)
}

// isLeft reports whether the session ended because the user left it or typed no
// keys, or because the connection or the local terminal was lost.
func isLeft(err error) bool {
	var lost *stream.LostError
	var ended *containerEndedError
	var in *stream.InputError
	var out *stream.OutputError
	var signal cleanup.SignalError // Ctrl-C while no connection was open
	var idle outcome.IdleError
	return errors.Is(err, outcome.ErrLeft) || errors.As(err, &idle) || errors.As(err, &signal) ||
		errors.As(err, &in) || errors.As(err, &out) ||
		errors.As(err, &lost) && !errors.As(err, &ended)
}

// powershellOrCmd starts PowerShell or, if the image does not have it, cmd,
// with one connection. Every Windows image has cmd. The argument contains no
// quotes, because a container runtime escapes quotes in a way that cmd does not
// understand.
var powershellOrCmd = []string{"cmd", "/d", "/c", "where /q powershell 2>nul & if errorlevel 1 (cmd) else (powershell)"}

// commandsWithoutScript returns the commands that are tried, in this order, if
// no script starts the command.
func (c *Command) commandsWithoutScript(ctx context.Context) ([][]string, error) {
	if !c.options.hasEnvironment() {
		return c.shells(ctx), nil
	}
	command, err := c.options.withEnv()
	return [][]string{command}, err
}

// shells returns the commands that are tried, in this order, if no script
// starts the command: only the user's command or, without one, every shell that
// the container may have.
func (c *Command) shells(ctx context.Context) [][]string {
	if len(c.options.Command) > 0 {
		return [][]string{c.options.Command}
	}
	unix := [][]string{{"bash"}, {"sh"}, {"ash"}, {"/bin/bash"}, {binSh}}
	if c.noSh {
		unix = [][]string{{"bash"}, {"ash"}, {"/bin/bash"}}
	}
	c.Target().await(ctx) // Windows needs another shell
	switch os := c.Target().os(); {
	case os == corev1.Windows || os == "" && c.nodeOS(ctx) == corev1.Windows:
		return [][]string{powershellOrCmd}
	case os == "":
		return append(unix, powershellOrCmd)
	default:
		return unix
	}
}

// nodeTimeout is the time limit of the request for the node. It is short,
// because kshell can do without the answer.
const nodeTimeout = 2 * time.Second

// nodeOS returns the operating system of the pod's node; empty if it is not
// known. The node is requested only if the pod's spec does not name a system
// and no script has run.
func (c *Command) nodeOS(ctx context.Context) corev1.OSName {
	t := c.Target()
	found := t.await(ctx)
	if found == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	os, err := c.cluster.BackgroundPods().NodeOS(ctx, found.Pod)
	if err != nil {
		c.env.Notice.Detail("the pod's operating system is not known: %s", err)
	}
	return os
}

// noShellError returns the error for a container without a shell, with a hint.
func (c *Command) noShellError(err error) error {
	t, none := c.Target(), notice.WithMessage(err, "the container has no shell")
	switch {
	case t.os() == corev1.Windows: // a debug container cannot see the files of a Windows container
		return notice.WithHint(none, fmt.Sprintf("name a program that the container has: `%s -it %s -- PROGRAM`",
			c.options.Program, t.Pod))
	case t.Container == "":
		return notice.WithHint(none,
			fmt.Sprintf("type `kubectl debug -it -n %s %s --image=busybox -- sh`", t.Namespace, t.Pod))
	}
	return notice.WithHint(none,
		fmt.Sprintf("type `kubectl debug -it -n %s %s --image=busybox --target=%s -- sh`", t.Namespace, t.Pod, t.Container))
}
