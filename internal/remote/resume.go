package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/agentbin"
	"kshell/internal/cleanup"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/resume"
	"kshell/internal/script"
	"kshell/internal/stream"
)

// resumption is the use of the session agent for a command.
type resumption struct {
	config  resume.Config
	session *resume.Session // of the last call of Command.NewSession
}

// begun reports whether the agent has accepted the client, so that the command
// must not be started again.
func (r *resumption) begun() bool { return r != nil && r.session != nil && r.session.Begun() }

// Resumes reports whether the session agent runs the command. If so, each
// connection leads to the same processes, and no input is lost between two
// connections.
func (c *Command) Resumes() bool { return c.resumption != nil }

// uploadLimit is how long the upload of the agent may take with ResumeAuto.
const uploadLimit = 5 * time.Second

// start returns the command for the agent.
func (c *Command) start(stdin bool) *resume.Start {
	o := &c.options
	c.upload = uploadProgress{cmd: c, begin: time.Now()}
	env := o.Env
	if o.TTY {
		env = withoutRepeats(slices.Concat(o.ShellEnv, o.Env))
	}
	dirs, fallback := o.ResumeDirs, resume.DefaultDirs
	if len(dirs) == 0 {
		dirs, fallback = resume.DefaultDirs, nil
	}
	s := &resume.Start{
		ID: resume.NewID(), Dirs: dirs, Fallback: fallback, Build: agentbin.BuildID(), Agent: agentbin.Gzipped,
		Command: o.Command, Env: env, Workdir: o.Dir, TTY: o.TTY, Stdin: stdin,
		Buffer: o.ResumeBuffer, Idle: o.ResumeTimeout, Progress: c.upload.update,
	}
	if o.Resume == ResumeAuto {
		s.UploadLimit = uploadLimit
	}
	return s
}

// withoutRepeats returns the variables of env without those that a later variable
// replaces.
func withoutRepeats(env []string) []string {
	name := func(v string) string {
		name, _, _ := strings.Cut(strings.TrimPrefix(v, resume.IfKnown), "=")
		return name
	}
	var result []string
	for i, v := range env {
		if !slices.ContainsFunc(env[i+1:], func(later string) bool { return name(later) == name(v) }) {
			result = append(result, v)
		}
	}
	return result
}

// uploadProgress shows the progress of the upload of the agent, if the upload
// takes longer than a second.
type uploadProgress struct {
	cmd      *Command
	begin    time.Time
	progress *notice.Progress // nil until it is shown
}

// update is called with the number of bytes that the container has received, and
// the number of all bytes.
func (u *uploadProgress) update(sent, total int64) {
	u.cmd.uploading.Store(sent < total)
	switch {
	case sent >= total:
		u.end()
		return
	case u.progress != nil:
	case time.Since(u.begin) < time.Second:
		return
	default:
		u.progress = u.cmd.env.Notice.Progress()
		if !u.progress.InPlace() {
			u.progress.Update(uploadText)
		}
	}
	if u.progress.InPlace() {
		u.progress.Update(fmt.Sprintf("%s: %d of %d KiB", uploadText, sent>>10, total>>10))
	}
}

// end removes the progress.
func (u *uploadProgress) end() {
	u.cmd.uploading.Store(false)
	if u.progress != nil {
		u.progress.End()
	}
}

const uploadText = "uploading the session agent (press Ctrl-C to cancel)"

// clientName returns the name that other clients of the session see.
func clientName() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// useAgent makes the session agent run the command until the returned function
// is called. If start is nil, the command attaches to the session id of the agent
// in dir.
func (c *Command) useAgent(start *resume.Start, dir, id string) (done func()) {
	c.resumption = &resumption{config: resume.Config{
		Start: start, ID: id, Dir: dir, Name: clientName(), Term: os.Getenv("TERM"), Notify: c.notify,
	}}
	return func() { c.resumption = nil }
}

// unusable returns why the session agent cannot be used at all; empty if it may
// be usable.
func (c *Command) unusable() string {
	switch {
	case agentbin.BuildID() == "":
		return "this kshell was built without the session agent (see `make agent`)"
	case c.Target().os() == corev1.Windows:
		return "the container runs Windows"
	}
	return ""
}

// runByAgent runs the command by the session agent: run runs a session. If ran is
// false, nothing has run, the user was told why, and the caller runs the command
// without the agent.
func (c *Command) runByAgent(ctx context.Context, start *resume.Start, run func() error) (ran bool, err error) {
	why := c.unusable()
	if why == "" {
		defer c.useAgent(start, "", "")()
		err = c.withSh(run)
		c.upload.end()
		why = c.whyNoAgent(err)
	}
	switch {
	case why == "":
		return true, c.explainEnd(ctx, err)
	case ctx.Err() != nil:
		return true, outcome.ContextCause(ctx, err)
	case c.detached:
		return true, errors.New("--detach is not possible here: " + why)
	case c.options.Resume == ResumeAlways:
		return true, notice.WithHint(errors.New("--resume=always is not possible here: "+why),
			"--resume=auto runs the command without the session agent if necessary")
	}
	c.env.Notice.Note("a lost connection will end the session, because the session agent cannot be used: %s", why)
	return false, nil
}

// withSh calls run, which runs a session of the agent. If the container's PATH has
// no sh, it calls run a second time, with /bin/sh; see withShPath.
func (c *Command) withSh(run func() error) error {
	var unable *resume.UnableError
	err := run()
	if errors.As(err, &unable) && isNotFound(unable) && c.noShInPath.CompareAndSwap(false, true) {
		return run()
	}
	return err
}

// whyNoAgent returns why the session agent cannot run in the container, if err
// means that. If it returns "", the command has been run or may have been run, or
// it would fail without the agent, too.
func (c *Command) whyNoAgent(err error) string {
	var unable *resume.UnableError
	switch {
	case c.resumption.begun():
		return ""
	case errors.As(err, &unable) && !isNotFound(unable):
		return unable.Reason
	}
	return whyNoScript(err)
}

// runOneShotByAgent runs a command without a terminal by the session agent; see
// runByAgent.
func (c *Command) runOneShotByAgent(ctx context.Context) (ran bool, err error) {
	return c.runByAgent(ctx, c.start(c.in.Input != nil), func() error { return c.runAgentSession(ctx) })
}

// runAgentSession runs a session of the agent without a terminal.
func (c *Command) runAgentSession(ctx context.Context) error {
	d := c.agentDriver(ctx)
	defer d.watch.end()
	s := c.Settings()
	s.WithOutput, s.Eager = true, true
	s.Reconnect, s.GiveUpAfter = c.reconnect(), c.options.ReconnectTimeout
	o := &attemptObserver{notice: c.env.Notice, resumes: true}
	d.opens = o.connected
	session := c.NewSession(d, o.observe, s)
	return c.forwardSignals(ctx, session)
}

// agentDriver returns the driver of a session of the agent.
func (c *Command) agentDriver(ctx context.Context) *driver {
	return &driver{cmd: c, ctx: ctx, watch: c.newPodWatch(), request: func(t Target) stream.Request {
		return t.Exec(c.withShPath(c.resumption.session.Argv()), true, false, c.options.Protocols)
	}}
}

// signalGrace is how long a command may take to end after a signal, before
// kshell ends it.
const signalGrace = time.Second

// forwardSignals runs a session of the agent. When ctx ends by a signal or a
// timeout, it passes the signal (TERM for a timeout) to the command, and lets the
// session run for up to signalGrace, so that the command's last output and exit
// code arrive.
func (c *Command) forwardSignals(ctx context.Context, s *Session) error {
	running, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	ended := make(chan struct{})
	var forwarding sync.WaitGroup
	defer forwarding.Wait()
	defer close(ended)
	forwarding.Go(func() {
		defer c.env.Cleanup.OnPanic()
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		if number := c.signalFor(context.Cause(ctx)); number != 0 && s.agent.Begun() && s.agent.Signal(number) {
			timer := time.NewTimer(signalGrace)
			defer timer.Stop()
			select {
			case <-ended:
			case <-timer.C:
			}
		}
		stop(context.Cause(ctx))
	})
	return s.Run(running)
}

// signalFor returns the Linux number of the signal that is sent to the command when
// its context has ended with cause. It returns 0 if no signal is sent, for example
// because another client has started the command.
func (c *Command) signalFor(cause error) uint8 {
	var signal cleanup.SignalError
	var timeout outcome.TimeoutError
	switch {
	case c.options.KeepRunning, c.options.Attach != nil:
		return 0
	case errors.As(cause, &timeout):
		return linuxTERM
	case errors.As(cause, &signal):
		return linuxSignal(signal.Signal)
	}
	return 0
}

// The numbers of signals in Linux.
const (
	linuxHUP  = 1
	linuxINT  = 2
	linuxQUIT = 3
	linuxTERM = 15
)

// linuxSignal returns the number that a signal of the local system has in Linux.
func linuxSignal(s syscall.Signal) uint8 {
	switch s {
	case syscall.SIGHUP:
		return linuxHUP
	case syscall.SIGINT:
		return linuxINT
	case syscall.SIGQUIT:
		return linuxQUIT
	}
	return linuxTERM
}

// runTTYByAgent runs the command, or a shell, on the terminal by the session
// agent; see runByAgent.
func (c *Command) runTTYByAgent(ctx context.Context, t Terminal) (ran bool, err error) {
	return c.runByAgent(ctx, c.start(true), func() error { return c.runAgentOnTerminal(ctx, t) })
}

// runAgentOnTerminal runs a session of the agent on the terminal.
func (c *Command) runAgentOnTerminal(ctx context.Context, t Terminal) error {
	d := c.agentDriver(ctx)
	defer d.watch.end()
	s := c.Settings()
	s.Stdout, s.WithOutput = t.Output(), true
	return t.Run(ctx, d, s)
}

// explainEnd ends the session of the agent if necessary, and returns the outcome
// of the command with a message and a hint. err is the error of the session.
func (c *Command) explainEnd(ctx context.Context, err error) error {
	s := c.resumption.session
	if s == nil { // the terminal could not be opened
		return err
	}
	var exit *stream.ExitError
	var gone *resume.GoneError
	var ended *containerEndedError
	var limit *resume.LimitError
	if errors.As(err, &limit) {
		c.tidy()
		c.env.Notice.WarnAlways("%s", limit)
	}
	switch {
	case c.options.Dir != "" && errors.As(err, new(*resume.DirectoryError)):
		return c.noDirectoryError()
	case err == nil, errors.As(err, &exit), errors.As(err, &ended):
		return outcome.ContextCause(ctx, c.explain(err, false))
	case errors.As(err, new(*stream.LostError)) && !s.MayHaveRun():
		return outcome.ContextCause(ctx, notice.WithMessage(err,
			fmt.Sprintf("the connection broke before the command was started (%s)", err)))
	case errors.As(err, &gone):
		return notice.WithMessage(&stream.LostError{Err: gone}, gone.Error()+"; the result of its command is unknown")
	case errors.Is(err, resume.ErrDetached):
		c.noteContinues("detached: session %s continues")
		return outcome.ErrDetached
	case s.Dir() != "" && c.ends(ctx, err):
		c.endSession(ctx)
	case !c.continues(err):
	case ctx.Err() != nil:
		c.noteContinues("session %s continues")
	default:
		if !errors.As(err, new(*stream.LostError)) { // explain would add that the result is unknown
			err = c.explain(err, false)
		}
		hint := strings.TrimPrefix(notice.HintOf(err)+"\n", "\n")
		return notice.WithHint(
			notice.WithMessage(err, fmt.Sprintf("%s; the command continues in session %s", err, s.ID())),
			hint+fmt.Sprintf("`%s` attaches to it", c.AttachLine(s.ID())))
	}
	return outcome.ContextCause(ctx, c.explain(err, false))
}

// continues reports whether the session of the agent continues after its client
// has ended with err, which is not the end of the command.
func (c *Command) continues(err error) bool {
	var remote *stream.RemoteError // the command was not started
	var notReady *stream.NotReadyError
	return c.resumption.begun() && !errors.As(err, &remote) && !isPodNotFound(err, c.Target().Pod) &&
		(!errors.As(err, &notReady) || !notReady.Final)
}

// endSession ends the session of the agent, and its command.
func (c *Command) endSession(ctx context.Context) {
	s := c.resumption.session
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.limits.Terminate)
	defer cancel()
	if err := c.RunInternal(limited, resume.EndArgv(s.Dir(), s.ID())); err != nil {
		c.env.Notice.WarnAlways("session %s could not be ended: %s", s.ID(), err)
		c.env.Notice.Hint("it ends by itself when no client has been attached for some time; `%s` attaches to it",
			c.AttachLine(s.ID()))
	}
}

// ends reports whether the session of the agent must be ended after err: because
// the user or a time limit has ended the command, because its input or output
// failed, or because the client that started it was never accepted. After a
// signal, the session of a terminal continues. With KeepRunning, only ~. and a
// client that was never accepted end the session.
func (c *Command) ends(ctx context.Context, err error) bool {
	var timeout outcome.TimeoutError
	var signal cleanup.SignalError
	var in *stream.InputError
	var out *stream.OutputError
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, outcome.ErrLeft), errors.Is(err, outcome.ErrLeft):
		return true
	case !c.resumption.begun():
		// The user does not know of a session that this client has started. But a
		// session to which this client only attaches was started by another one.
		return c.options.Attach == nil
	case errors.As(cause, &timeout):
		return !c.options.KeepRunning
	case c.options.TTY, c.options.Attach != nil, c.options.KeepRunning:
		return false
	}
	return errors.As(cause, &signal) || errors.As(err, &in) || errors.As(err, &out)
}

// noteContinues prints a message about the session of the agent, and the command
// that attaches to it. The argument of format is the ID of the session.
func (c *Command) noteContinues(format string) {
	id := c.resumption.session.ID()
	c.env.Notice.NoteAlways(format, id)
	c.env.Notice.Hint("`%s` attaches to it", c.AttachLine(id))
}

// AttachLine returns the command line that attaches to the session id.
func (c *Command) AttachLine(id string) string {
	o := &c.options
	words := []string{"--attach"}
	for _, dir := range o.ResumeDirs {
		words = append(words, "--resume-dir", dir)
	}
	words = append(words, c.Target().Pod)
	if o.Pod.Container != "" {
		words = append(words, "-c", o.Pod.Container)
	}
	return o.Program + " " + script.QuoteAll(append(words, id))
}

// notify tells the user what has happened in the session of the agent.
func (c *Command) notify(n resume.Notice) {
	switch n := n.(type) {
	case resume.Joined:
		others := "1 other client is"
		if n.Others != 1 {
			others = fmt.Sprintf("%d other clients are", n.Others)
		}
		c.note(others + " attached")
	case resume.Presence:
		verb := "left"
		if n.Attached {
			verb = "attached"
		}
		c.note(fmt.Sprintf("%s %s (the name is not verified)", n.Name, verb))
	case resume.Dropped:
		c.Alert(fmt.Sprintf("%d bytes of older output are missing here: the session agent did not keep them", n.Bytes))
	case resume.OtherTerm:
		c.Alert(fmt.Sprintf("the session was started with TERM=%s: programs may be displayed incorrectly here",
			n.Term))
	}
}
