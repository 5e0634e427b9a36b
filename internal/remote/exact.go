package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"kshell/internal/exact"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// runExact runs the command with the script of exact mode. If ran is false, the
// script could not start the command, and the caller runs the command without
// the script.
func (c *Command) runExact(ctx context.Context) (ran bool, err error) {
	o := &c.options
	set := exact.Options{
		Stdout: &c.out, Stderr: &c.err, KeepRunning: o.KeepRunning, EndIfInputCut: o.EndIfInputCut, Env: o.Env, Dir: o.Dir,
	}
	if c.in.Input != nil {
		set.Stdin = &c.in
	}
	var run *exact.Run
	err = c.shortened(func() error {
		return c.bySh(func() error {
			run = exact.New(set)
			return c.runScript(ctx, run)
		})
	})
	state, _ := run.State()
	var ended *containerEndedError
	var lost *stream.LostError
	switch {
	case errors.As(err, &ended): // the process IDs of a container that ended may be reused
	case ctx.Err() == nil && (err == nil || errors.As(err, &lost)):
		c.endInBackground(c.Target(), run.EndCommand())
	default:
		c.terminate(ctx, c.Target(), run.TerminateCommand())
	}
	why := whyNotStarted(state, err)
	c.settleImage(state, err, why)
	switch {
	case why == "":
		c.setMode(ModeExact, "")
		return true, c.explain(outcome.ContextCause(ctx, c.reported(run, err)), state == exact.Running && !o.KeepRunning)
	case state == exact.NoDirectory:
		return true, c.noDirectoryError()
	case o.hasEnvironment() && state == exact.NoCommand:
		return true, c.explain(errNoCommand, false)
	case o.hasEnvironment() && state == exact.NotStarted:
		return true, errEnvironmentNotSet
	case o.Exact == ExactAlways:
		return true, notice.WithHint(
			errors.New("--exact=always is not possible here: "+why),
			"--exact=auto runs the command without exact mode if necessary",
		)
	}
	c.env.Notice.Detail("not in exact mode: %s", why)
	c.setMode("", why)
	return false, nil
}

// runScript runs a session of the script of exact mode.
func (c *Command) runScript(ctx context.Context, run *exact.Run) error {
	d := &driver{cmd: c, run: run, request: func(t Target) stream.Request {
		return c.scriptRequest(t, run)
	}}
	s := c.Settings()
	s.Stdin = scriptInput{run}
	s.Stdout, s.Stderr = run.Stdout(), run.Stderr()
	if c.image.result != nil {
		s.Stdout = &trialWriter{s.Stdout, run, c}
	}
	s.WithOutput = true // the script sends a message when it starts the command
	s.CheckStuck = c.in.Input != nil
	return c.runOneShot(ctx, d, s)
}

// MaxLine is the maximum length of a request line, in bytes. If the script of
// exact mode makes the line longer, the script is sent on stdin. Some gateways
// limit the line to 4,096 bytes.
const MaxLine = 4000

// maxArgs is the maximum length of a command with its arguments, in bytes. A
// longer one is sent on stdin together with the script.
const maxArgs = 4096

// scriptRequest returns the request for the command of run in t. The request
// does not contain the script if that would make the request too long.
func (c *Command) scriptRequest(t Target, run *exact.Run) stream.Request {
	o := &c.options
	exec := func(command []string) stream.Request {
		bulk := c.in.Input != nil && !c.in.short()
		return o.offerExact(t.Exec(c.withShPath(command), true, false, nil), bulk)
	}
	r := exec(run.Command(o.Command))
	n := c.cluster.Transport().LineLength(r)
	size := argsSize(o.Command)
	switch {
	case c.shortLine:
		c.env.Notice.Detail("kshell's script is sent on stdin, because the server limits the request line")
	case n > MaxLine:
		c.env.Notice.Detail("kshell's script is sent on stdin: the request line would have %d bytes", n)
	default:
		return r
	}
	if size > maxArgs {
		c.env.Notice.Detail("the command is sent on stdin, too, because it has %d bytes: it is not in the audit log", size)
	}
	return exec(run.CommandOverStdin(o.Command, size > maxArgs))
}

// argsSize returns the length of args in bytes, including a separator after
// each.
func argsSize(args []string) int {
	n := len(args)
	for _, arg := range args {
		n += len(arg)
	}
	return n
}

// shortened calls run, which must make the request that scriptRequest returns.
// If the server refuses the request, possibly because of its length, shortened
// calls run a second time with the script on stdin. This cannot run the command
// twice, because a refused request starts nothing. After that, the other
// commands of the Cluster begin with the script on stdin.
func (c *Command) shortened(run func() error) error {
	c.shortLine = c.cluster.limitsLine.Load()
	err := run()
	if c.shortLine || !mayBeTooLong(err) {
		return err
	}
	c.env.Notice.Detail("%s: trying again with a shorter request", err)
	c.shortLine = true
	if err = run(); !mayBeTooLong(err) {
		c.cluster.limitsLine.Store(true)
	}
	return err
}

// mayBeTooLong reports whether the server refused a request that may have been
// too long.
func mayBeTooLong(err error) bool {
	var refused *stream.HandshakeError
	return errors.As(err, &refused) && refused.MayBeTooLong()
}

// scriptInput is the stdin of the script of exact mode.
type scriptInput struct{ *exact.Run }

// Read implements io.Reader.
func (in scriptInput) Read(p []byte) (int, error) { return in.Run.Stdin().Read(p) }

// errNoCommand is the error for a command that the script did not find. It is a
// RemoteError, like the error of a container runtime, so that explain treats
// both in the same way.
var errNoCommand = &stream.RemoteError{Message: "executable file not found", Start: stream.StartNotFound}

// errEnvironmentNotSet means that the script did not start a command with --env
// or --workdir.
var errEnvironmentNotSet = notice.WithHint(
	errors.New("the command was not started: kshell's script cannot set a variable, or cannot start processes in "+
		"the container, which may be at its process or memory limit"),
	"without --env and --workdir, the command is run without the script",
)

// terminate ends remote processes by running the given command in t. If command
// is nil, terminate does nothing. The time limit is short, because the user
// waits for terminate.
func (c *Command) terminate(ctx context.Context, t Target, command []string) {
	if command == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.limits.Terminate)
	defer cancel()
	if err := c.runInternalIn(ctx, t, command); err != nil {
		c.env.Notice.Detail("the command could not be ended and may still be running: %s", err)
	}
}

// endInBackground ends the remote processes of a lost connection by running the
// given command in t, while kshell continues, for example prints its messages.
// If command is nil, endInBackground does nothing. While the server cannot be
// reached, it tries again, for up to cleanup.Timeout.
func (c *Command) endInBackground(t Target, command []string) {
	if command == nil {
		return
	}
	c.env.Cleanup.Go(func(ctx context.Context) {
		defer c.env.Cleanup.OnPanic()
		err := c.runUntilAnswered(ctx, t, command)
		if err != nil {
			c.env.Notice.Detail("the command could not be ended and may still be running: %s", err)
		}
	})
}

const (
	// endAttempt is the time limit of one attempt of runUntilAnswered.
	endAttempt = 4 * time.Second
	// endDelay is the time between two attempts.
	endDelay = 500 * time.Millisecond
)

// runUntilAnswered runs an internal command in t. If the server cannot be
// reached, it tries again until ctx ends.
func (c *Command) runUntilAnswered(ctx context.Context, t Target, command []string) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, endAttempt)
		err := c.runInternalIn(attempt, t, command)
		unanswered := isUnreachable(attempt, err) || isUnanswered(err)
		cancel()
		if !unanswered {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(endDelay):
		}
	}
}

// RunInternal runs a command that kshell itself needs, such as a probe, in the
// container. The command has no stdin. RunInternal returns its outcome. Any
// goroutine may call RunInternal, also during a session.
func (c *Command) RunInternal(ctx context.Context, command []string) error {
	return c.runInternalIn(ctx, c.Target(), command)
}

func (c *Command) runInternalIn(ctx context.Context, t Target, command []string) error {
	return c.runInternalWith(ctx, t, command, nil)
}

func (c *Command) runInternalWith(ctx context.Context, t Target, command []string, out io.Writer) error {
	run := func() error {
		request := t.Exec(c.withShPath(command), false, false, stream.Protocols())
		return c.cluster.backgroundClients().runInternal(ctx, request, out)
	}
	if command[0] != "sh" {
		return run()
	}
	return c.bySh(run)
}

// noDirectoryError returns the error for a working directory that the script
// could not enter.
func (c *Command) noDirectoryError() error {
	container := "the container"
	if name := c.Target().Container; name != "" {
		container = fmt.Sprintf("container %q", name)
	}
	return fmt.Errorf("working directory %q (--workdir) does not exist in %s, or cannot be entered",
		c.options.Dir, container)
}

// whyNotStarted returns why the script could not start the command. It returns
// "" if the command was started or may have been started. In that case the
// caller must not run the command a second time.
func whyNotStarted(state exact.State, err error) string {
	switch state {
	case exact.NoCommand:
		return "the container has no such command, or the command is not executable"
	case exact.NoDirectory:
		return "the working directory does not exist in the container"
	case exact.Unsupported:
		return "the container's sh is mksh, or the container has neither a dd nor a head that reads whole blocks"
	case exact.NotStarted:
		return "kshell's script cannot start processes in the container, which may be at its process or memory limit"
	case exact.Unknown:
		return whyNoScript(err)
	}
	return ""
}

// whyNoScript returns why kshell's scripts cannot run in the container. err is
// the error of a session in which a script has reported nothing. If the cause
// of err is neither a missing sh, nor a policy of the cluster, nor the length of
// the request, whyNoScript returns "".
func whyNoScript(err error) string {
	var remote *stream.RemoteError
	var refused *stream.HandshakeError
	switch {
	case errors.As(err, &remote) && remote.Start != stream.StartOther:
		return "the container has no sh"
	case errors.As(err, &refused) && refused.Refusal() == stream.RefusalPolicy:
		return "a policy of the cluster refuses kshell's script: " + refused.Status.Message
	case mayBeTooLong(err):
		return "the request with kshell's script is refused: " + err.Error()
	}
	return ""
}

// errUnreported means that the server reports success, but the script has not
// reported the end of the command.
var errUnreported = errors.New("the server reported success before the command reported its result")

// errScriptEnded means that the script lost one of its processes while the
// command ran.
var errScriptEnded = notice.WithHint(
	errors.New("the command was ended because a process of kshell's script in the container was killed or could not "+
		"be started: the container may be at its process or memory limit"),
	"--exact=never runs a command without the script",
)

// unreportedError is an exit code from the server that the script has not
// confirmed. It may be the exit code of the script itself.
type unreportedError struct {
	code       int
	started    bool   // the command was started
	shellError string // what the container's sh wrote before the script started
}

func (e *unreportedError) Error() string {
	if e.started {
		return fmt.Sprintf("the server reports exit code %d, but kshell's script has not reported how the command ended",
			e.code)
	}
	text := fmt.Sprintf("the server reports exit code %d, but kshell's script has not reported "+
		"that the command was started", e.code)
	if e.shellError != "" {
		text += "; the error of the container's sh is: " + e.shellError
	}
	return text
}

// Hint tells the user how to run a command without the script. It is empty if
// the command was started.
func (e *unreportedError) Hint() string {
	if e.started {
		return ""
	}
	return "--exact=never runs a command without the script"
}

// reported returns the outcome of the command as the script reported it. The
// outcome that the server reported, err, is used only if the script reported
// none.
func (c *Command) reported(run *exact.Run, err error) error {
	state, code := run.State()
	switch {
	case state == exact.Ended && code == 0:
		return nil
	case state == exact.Ended:
		return &stream.ExitError{Code: code}
	case state == exact.Failed:
		return errScriptEnded
	case err == nil:
		return &stream.LostError{Err: errUnreported}
	}
	return c.confirmed(err, state == exact.Running, run.ShellError())
}

// confirmed returns err or, if err is an exit code, an *unreportedError,
// because only the server has reported the exit code. If the command was killed
// because its container ended, confirmed returns the exit code.
func (c *Command) confirmed(err error, started bool, shellError string) error {
	var exit *stream.ExitError
	if !errors.As(err, &exit) || c.killed {
		return err
	}
	return &unreportedError{exit.Code, started, shellError}
}

// binSh is the path of sh in nearly every image.
const binSh = "/bin/sh"

// bySh calls run, which must run one of kshell's scripts with the command line
// that withShPath returns. If run fails because the container's PATH has no sh,
// bySh calls run a second time. In the second call, withShPath replaces sh by
// /bin/sh. If /bin/sh cannot be started either, bySh returns the error of the
// first call.
func (c *Command) bySh(run func() error) error {
	err := run()
	if !isNotFound(err) || !c.noShInPath.CompareAndSwap(false, true) {
		return err
	}
	again := run()
	var remote *stream.RemoteError
	if errors.As(again, &remote) && remote.Start != stream.StartOther {
		return err
	}
	return again
}

// withShPath returns command. If command begins with sh and the container's
// PATH has no sh, the result begins with /bin/sh instead.
func (c *Command) withShPath(command []string) []string {
	if c.noShInPath.Load() && command[0] == "sh" {
		return append([]string{binSh}, command[1:]...)
	}
	return command
}

// isNotFound reports whether err means that the container does not have the
// program that was to be run.
func isNotFound(err error) bool {
	var remote *stream.RemoteError
	return errors.As(err, &remote) && remote.Start == stream.StartNotFound
}
