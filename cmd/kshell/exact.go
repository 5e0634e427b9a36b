package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kshell/internal/exact"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// The values of --exact.
const (
	exactAuto   = "auto"
	exactAlways = "always"
	exactNever  = "never"
)

var exactModes = []string{exactAuto, exactAlways, exactNever}

// exactPlan holds the options of exact mode; see internal/exact.
type exactPlan struct {
	mode        string
	whole, keep bool // exact.Options
}

// planExact checks the flags of exact mode and returns its options. Exact mode is
// not used on a tty, where stdout and stderr are one stream.
func planExact(cmd *cobra.Command, f execFlags, p *execPlan, local terminals) (exactPlan, error) {
	e := exactPlan{mode: f.exact, whole: f.exactStdin, keep: f.keep}
	if !cmd.Flags().Changed("exact-stdin") {
		e.whole = !local.in
	}
	switch {
	case !slices.Contains(exactModes, f.exact):
		return e, outcome.NewUsageError("unknown --exact "+strconv.Quote(f.exact), "one of "+strings.Join(exactModes, ", "))
	case p.tty && f.exact == exactAlways:
		return e, usage(cmd, "--exact=always is for commands without a tty")
	case f.exact == exactNever && !p.around.none():
		return e, usage(cmd, "--env and --workdir are carried out by a script, which --exact=never does not allow")
	}
	// A shell would take a command that begins with "-" for an option.
	p.scripted = f.exact != exactNever && (len(p.command) == 0 || !strings.HasPrefix(p.command[0], "-"))
	if p.tty || !p.scripted {
		e.mode = exactNever
	}
	return e, nil
}

// exactly runs the command through the script. If plainly is true, the script could
// not run, the command was not started, and it is to be run without the script.
func (j *job) exactly(ctx context.Context) (plainly bool, err error) {
	p := j.plan
	o := exact.Options{Stdout: &j.out, Stderr: &j.err, KeepRunning: p.exact.keep, EndIfInputCut: p.exact.whole, Env: p.around.env, Dir: p.around.dir}
	if j.input != nil {
		o.Stdin, o.CancelStdin = &j.in, j.input.Cancel
	}
	var run *exact.Run
	err = j.bySh(func() error {
		run = exact.New(o)
		d := &driver{job: j, run: run, request: func(at place) stream.Request {
			return at.request(j.scripted(run.Command(p.command)), true, false, p.offer)
		}}
		set := j.settings()
		set.Stdin = cancelableReader{run.Stdin(), run}
		set.Stdout, set.Stderr = j.watched(run, run.Stdout()), run.Stderr()
		set.WithOutput = true // the script sends a message when it starts the command
		return j.unattended(ctx, d, set)
	})
	state, _ := run.State()
	var fate *fateError
	if !errors.As(err, &fate) { // else the container has ended, and its process IDs may be reused
		j.sweep(ctx, j.at, run.TerminateCommand())
	}
	why := obstacle(state, err)
	j.judged(state, err, why)
	switch {
	case why == "":
		j.told.mode = modeExact
		return false, explain(outcome.ContextCause(ctx, j.reported(run, err)), p, j.at, state == exact.Running && !p.exact.keep)
	case state == exact.NoDirectory:
		return false, errors.New(why)
	case !p.around.none() && state == exact.NoCommand:
		return false, explain(errMissing, p, j.at, false)
	case !p.around.none():
		return false, errSurroundings(state)
	case p.exact.mode == exactAlways:
		return false, notice.WithHint(
			errors.New("--exact=always is not possible here: "+why),
			"--exact=auto runs the command without exact mode if necessary",
		)
	}
	j.notice.Detail("not in exact mode: %s", why)
	j.told.inexact = why
	return true, nil
}

// errMissing is the error for a command that the script did not find. It equals the
// error of a container runtime.
var errMissing = &stream.RemoteError{Message: "executable file not found", Start: stream.StartNotFound}

// sweeping is the time limit of sweep, for which the user has to wait.
var sweeping = 2 * time.Second

// sweep runs a command that ends remote processes which the script could not end. It
// does nothing if command is nil.
func (j *job) sweep(ctx context.Context, at place, command []string) {
	if command == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweeping)
	defer cancel()
	if err := j.quietly(ctx, at, command); err != nil {
		j.notice.Detail("the command may still be running: it could not be ended: %s", err)
	}
}

// quietly runs a command in a container for kshell itself. It discards the output
// and returns the outcome.
func (j *job) quietly(ctx context.Context, at place, command []string) error {
	run := func() error {
		d := &internalDriver{j.aside, at.request(j.scripted(command), false, false, stream.Protocols())}
		return stream.NewSession(d, nil, stream.Settings{LinkSettings: stream.LinkSettings{Reconnect: stream.ReconnectNever}}).Run(ctx)
	}
	if command[0] != "sh" {
		return run()
	}
	return j.bySh(run)
}

// internalDriver is the stream.Driver of a request that kshell makes for itself.
type internalDriver struct {
	dialer  *stream.Transport
	request stream.Request
}

// Dial implements stream.Driver.
func (d *internalDriver) Dial(ctx context.Context) (*stream.Conn, error) {
	return d.dialer.Dial(ctx, d.request)
}

// Opened implements stream.Driver.
func (d *internalDriver) Opened(context.Context, *stream.Conn) error { return nil }

// Ended implements stream.Driver.
func (d *internalDriver) Ended(_ context.Context, err error) error { return err }

// obstacle returns why the script could not start the command. It returns "" if the
// command was started or may have been started, and must not be run a second time.
func obstacle(state exact.State, err error) string {
	switch state {
	case exact.NoCommand:
		return "the container has no such command, or may not run it"
	case exact.NoDirectory:
		return "the container has no such working directory, or it may not be entered"
	case exact.Unsupported:
		return "the container's sh is mksh, or the container has neither a dd nor a head that reads whole blocks"
	case exact.NotStarted:
		return "kshell's script cannot start processes in the container, which may be at its process or memory limit"
	case exact.Unknown:
		return unscripted(err)
	}
	return ""
}

// unscripted returns why kshell's scripts cannot run in the container, from the
// error of a session in which a script has reported nothing. It returns "" if the
// error has another cause.
func unscripted(err error) string {
	var remote *stream.RemoteError
	var refused *stream.HandshakeError
	switch {
	case errors.As(err, &remote) && remote.Start != stream.StartOther:
		return "the container has no sh"
	case errors.As(err, &refused) && refused.Refusal() == stream.RefusalPolicy:
		return "a policy of the cluster refuses it: " + refused.Status.Message
	}
	return ""
}

// errUnreported means that the server reports success, but the script has not
// reported the end of the command.
var errUnreported = errors.New("the server claims that the command succeeded, but the command has not said so")

// errPartLost means that the script lost one of its processes while the command ran.
var errPartLost = notice.WithHint(
	errors.New("the command was ended because a process of kshell's script in the container ended or could not be "+
		"started: the container may be at its process or memory limit"),
	"--exact=never runs a command without the script",
)

// unreportedError is an exit code from the server that the script has not confirmed.
// It may be the exit code of the script itself.
type unreportedError struct {
	code    int
	started bool   // the command was started
	words   string // what the container's sh wrote before the script started
}

func (e *unreportedError) Error() string {
	if e.started {
		return fmt.Sprintf("the server reports exit code %d, but kshell's script has not reported how the command ended", e.code)
	}
	words := fmt.Sprintf("the server reports exit code %d, but kshell's script has not reported that the command was started", e.code)
	if e.words != "" {
		words += "; the container's sh says: " + e.words
	}
	return words
}

// Hint says how to run a command without the script, if this one was not started.
func (e *unreportedError) Hint() string {
	if e.started {
		return ""
	}
	return "--exact=never runs a command without the script"
}

// reported returns the outcome of the command as the script reported it. The
// outcome that the server reported, err, is used only if the script reported none.
func (j *job) reported(run *exact.Run, err error) error {
	state, code := run.State()
	switch {
	case state == exact.Ended && code == 0:
		return nil
	case state == exact.Ended:
		return &stream.ExitError{Code: code}
	case state == exact.Failed:
		return errPartLost
	case err == nil:
		return &stream.LostError{Err: errUnreported}
	}
	return j.confirmed(err, state == exact.Running, run.ShellError())
}

// confirmed returns err. It replaces an exit code, which only the server has
// reported, by an unreportedError, unless the container ended and killed the command.
func (j *job) confirmed(err error, started bool, complaint string) error {
	var exit *stream.ExitError
	if !errors.As(err, &exit) || j.killed {
		return err
	}
	return &unreportedError{exit.Code, started, complaint}
}

// binSh is the path of sh in nearly every image.
const binSh = "/bin/sh"

// bySh calls run, which runs one of kshell's scripts with sh. If the container's PATH
// has no sh, so that nothing was started, it calls run again with /bin/sh. If
// /bin/sh cannot be started either, it returns the error of sh.
func (j *job) bySh(run func() error) error {
	err := run()
	if !lacksProgram(err) || !j.offPath.CompareAndSwap(false, true) {
		return err
	}
	again := run()
	var remote *stream.RemoteError
	if errors.As(again, &remote) && remote.Start != stream.StartOther {
		return err
	}
	return again
}

// scripted returns one of kshell's own commands for the container, with /bin/sh in
// place of sh if the container's PATH has no sh.
func (j *job) scripted(command []string) []string {
	if j.offPath.Load() && command[0] == "sh" {
		return append([]string{binSh}, command[1:]...)
	}
	return command
}

// lacksProgram reports whether err means that the container does not have the
// program.
func lacksProgram(err error) bool {
	var remote *stream.RemoteError
	return errors.As(err, &remote) && remote.Start == stream.StartNotFound
}
