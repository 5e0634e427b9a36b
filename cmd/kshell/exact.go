package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kshell/internal/exact"
	"kshell/internal/stream"
)

// What --exact may be.
const (
	exactAuto   = "auto"
	exactAlways = "always"
	exactNever  = "never"
)

var exactModes = []string{exactAuto, exactAlways, exactNever}

// exactPlan is whether and how a command is run by the script that reports its end; see internal/exact.
type exactPlan struct {
	mode        string
	whole, keep bool // exact.Options
}

// planExact settles the flags. A tty has one output and no end of its own: exact mode is not for it.
func planExact(cmd *cobra.Command, f execFlags, p *execPlan, local terminals) (exactPlan, error) {
	e := exactPlan{mode: f.exact, whole: f.exactStdin, keep: f.keep}
	if !cmd.Flags().Changed("exact-stdin") {
		e.whole = !local.in
	}
	switch {
	case !slices.Contains(exactModes, f.exact):
		return e, &usageError{"unknown --exact " + quoted(f.exact), "one of " + strings.Join(exactModes, ", ")}
	case p.tty && f.exact == exactAlways:
		return e, usage(cmd, "--exact=always is for commands without a tty")
	case f.exact == exactNever && !p.around.none():
		return e, usage(cmd, "--env and --workdir are carried out by a script, which --exact=never does not allow")
	}
	p.scripted = f.exact != exactNever && (len(p.command) == 0 || !strings.HasPrefix(p.command[0], "-")) // a shell would take that for an option
	if p.tty || !p.scripted {
		e.mode = exactNever
	}
	return e, nil
}

// exactly runs the command by the script. Where that is not possible, and the command was not started, plainly is true.
func (j *job) exactly(ctx context.Context) (plainly bool, err error) {
	p := j.plan
	o := exact.Options{Stdout: &j.out, Stderr: &j.err, Keep: p.exact.keep, Whole: p.exact.whole, Env: p.around.env, Dir: p.around.dir}
	if j.input != nil {
		o.Stdin, o.CancelStdin = &j.in, j.input.Cancel
	}
	var run *exact.Run
	err = j.bySh(func() error {
		run = exact.New(o)
		s := j.newSession(func(at place) stream.Request {
			return at.request(j.scripted(run.Command(p.command)), true, false, p.offer)
		})
		s.Stdin, s.CancelStdin = run.Stdin(), run.Cancel
		s.Stdout, s.Stderr = j.watched(run, run.Stdout()), run.Stderr()
		opened := s.OnOpen
		s.OnOpen = func(c *stream.Conn) error {
			run.Reset() // of an earlier connection, with --reconnect=always
			return opened(c)
		}
		return j.unattended(ctx, s, true)
	})
	state, _ := run.State()
	var fate *fateError
	if !errors.As(err, &fate) { // else it is gone, and its number may be another's
		j.sweep(ctx, j.at, run.Leftover())
	}
	why := obstacle(state, err)
	j.judged(state, err, why)
	switch {
	case why == "":
		j.told.mode = modeExact
		return false, explain(ending(ctx, j.reported(run, err)), p, j.at, state == exact.Running && !p.exact.keep)
	case state == exact.Nowhere:
		return false, errors.New(why)
	case !p.around.none() && state == exact.Missing:
		return false, explain(errMissing, p, j.at, false)
	case !p.around.none():
		return false, errSurroundings(state)
	case p.exact.mode == exactAlways:
		return false, &hinted{errors.New("--exact=always is not possible here: " + why), "--exact=auto runs it all the same"}
	}
	j.notice.detail("not in exact mode: %s", why)
	j.told.inexact = why
	return true, nil
}

// errMissing is the script's word for what a runtime says in more words.
var errMissing = &stream.RemoteError{Message: "executable file not found", Start: stream.StartNotFound}

// sweeping bounds the clearing up after a command, when nobody wants to wait any more.
var sweeping = 2 * time.Second

// sweep ends what the script itself could not end.
func (j *job) sweep(ctx context.Context, at place, command []string) {
	if command == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweeping)
	defer cancel()
	if err := j.quietly(ctx, at, command); err != nil {
		j.notice.detail("the command may still be running: it could not be ended: %s", err)
	}
}

// quietly runs a command of kshell's own in a container, and says how it ended.
func (j *job) quietly(ctx context.Context, at place, command []string) error {
	run := func() error {
		s := &stream.Session{Link: stream.Link{
			Dial:      j.aside.opener(at.request(j.scripted(command), false, false, stream.Protocols())),
			Reconnect: stream.ReconnectNever,
		}}
		return s.Run(ctx)
	}
	if command[0] != "sh" {
		return run()
	}
	return j.bySh(run)
}

// obstacle returns why the script could not run the command, which was not started; empty if it was, or may have been: then it must not be run a
// second time.
func obstacle(state exact.State, err error) string {
	switch state {
	case exact.Missing:
		return "the container has no such command, or may not run it"
	case exact.Nowhere:
		return "the container has no such working directory, or it may not be entered"
	case exact.Unable:
		return "the container has neither a dd that counts whole blocks nor a head that does"
	case exact.Unstarted:
		return "kshell's script can start no processes in the container, which may be at its limit of processes or memory"
	case exact.Unknown:
		return unscripted(err)
	}
	return ""
}

// unscripted says why no script of ours can be run there at all, by the error of a session in which none has said anything.
func unscripted(err error) string {
	var remote *stream.RemoteError
	var refused *stream.HandshakeError
	switch {
	case errors.As(err, &remote) && remote.Start != stream.StartOther:
		return "the container has no sh"
	case errors.As(err, &refused) && policyRefused(refused):
		return "a policy of the cluster refuses it: " + refused.Status.Message
	}
	return ""
}

// policyRefused says whether it was not the lack of a right: that, RBAC says so ("cannot create resource", or nothing at all), and would
// say again. 422 is a ValidatingAdmissionPolicy's answer unless it names another reason.
func policyRefused(e *stream.HandshakeError) bool {
	return (e.StatusCode == http.StatusForbidden || e.StatusCode == http.StatusUnprocessableEntity) && e.Status != nil &&
		!lacksRight(e) && !unexplained(e)
}

// lacksRight says whether a refusal with a Status is RBAC's, in its own words.
func lacksRight(e *stream.HandshakeError) bool { return strings.Contains(e.Status.Message, " cannot ") }

// unexplained says whether a refusal with a Status gives no reason, as a server of 1.35 or later does when only create is lacking.
func unexplained(e *stream.HandshakeError) bool {
	return strings.HasSuffix(strings.TrimSpace(e.Status.Message), "is forbidden:")
}

// errUnreported is what the link's end means when the server says that all is well and the script has not.
var errUnreported = errors.New("the server claims that the command succeeded, but the command has not said so")

// errPartLost is the end of a command whose script lost a part of itself.
var errPartLost = &hinted{
	errors.New("a process of kshell's script ended in the container, or could not be started, and the command was ended: " +
		"the container may be at its limit of processes or memory"),
	"--exact=never runs a command without the script",
}

// unreportedError is an exit code of the server's that the script has not confirmed: it may be the script's own.
type unreportedError struct {
	code    int
	started bool   // the command was
	words   string // what the container's sh said before the script began
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

// Hint names the way without the script.
func (e *unreportedError) Hint() string {
	if e.started {
		return ""
	}
	return "--exact=never runs a command without the script"
}

// reported returns how the command ended: by what the script reported, not by the server's word.
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
	return j.confirmed(err, state == exact.Running, run.Complaint())
}

// confirmed returns err, but no exit code that only the server reports, unless all that ran in the container was killed with it.
func (j *job) confirmed(err error, started bool, complaint string) error {
	var exit *stream.ExitError
	if !errors.As(err, &exit) || j.killed {
		return err
	}
	return &unreportedError{exit.Code, started, complaint}
}

// binSh is where nearly every image has its sh.
const binSh = "/bin/sh"

// bySh runs a script of kshell's by sh, and again by /bin/sh if the container's PATH has no sh: nothing has run then. If /bin/sh cannot be
// started either, the error is that of sh.
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

// scripted is a command of kshell's own for the container, where sh may not be in the PATH.
func (j *job) scripted(command []string) []string {
	if j.offPath.Load() && command[0] == "sh" {
		return append([]string{binSh}, command[1:]...)
	}
	return command
}

// lacksProgram reports whether the container has no such program as was to be run.
func lacksProgram(err error) bool {
	var remote *stream.RemoteError
	return errors.As(err, &remote) && remote.Start == stream.StartNotFound
}
