package remote

import (
	"context"
	"errors"
	"time"

	"kshell/internal/exact"
	"kshell/internal/stream"
)

// driver is the stream.Driver of the sessions of a Command. Except for
// CheckStuck, its methods are called by the goroutine of the session.
type driver struct {
	cmd     *Command
	request func(Target) stream.Request
	watch   *podWatch    // nil if the pod is not watched
	run     *exact.Run   // the script of exact mode, or nil
	shell   *exact.Shell // the script of a shell on a terminal, or nil
	opens   func()       // called when a connection was opened; may be nil

	ctx    context.Context // the context that was passed to Run or RunTTY
	opened Target          // the container of the last connection
	failed bool            // the last attempt to open a connection failed

	// goneSince is when the checks of CheckStuck first found that the command of
	// the current connection has ended; zero if it runs. Opened sets it to zero;
	// no CheckStuck runs at that time.
	goneSince time.Time
}

// Driver returns a stream.Driver that opens connections with request, in plain
// mode. This driver does not watch the pod.
func (c *Command) Driver(request func(Target) stream.Request) stream.Driver {
	c.setMode(ModePlain, "")
	return &driver{cmd: c, request: request}
}

// Dial implements stream.Driver.
func (d *driver) Dial(ctx context.Context) (*stream.Conn, error) {
	conn, err := d.dial(ctx)
	d.failed = err != nil
	return conn, err
}

func (d *driver) dial(ctx context.Context) (*stream.Conn, error) {
	if d.opened != (Target{}) { // a connection was lost
		d.cmd.cluster.closeIdleConnections()
	}
	if err := d.watch.findNext(ctx); err != nil {
		return nil, err
	}
	conn, err := d.cmd.cluster.Transport().Dial(ctx, d.request(d.cmd.Target()))
	if err == nil {
		d.cmd.cluster.renewHeld()
	}
	return conn, d.cmd.Target().unlessResolved(ctx, d.watch.dialed(err))
}

// Opened implements stream.Driver.
func (d *driver) Opened(ctx context.Context, conn *stream.Conn) error {
	c := d.cmd
	if d.run != nil {
		if d.opened == c.Target() {
			c.endInBackground(d.opened, d.run.EndCommand())
		}
		d.run.Reset() // discard the state of an earlier connection
	}
	if d.shell != nil {
		d.hangUpOld()
	}
	d.opened, d.goneSince = c.Target(), time.Time{}
	d.watch.start(ctx, conn)
	c.setConnected(conn.Protocol())
	if c.Resumes() {
		c.setSession(c.resumption.session.ID())
	}
	if d.opens != nil {
		d.opens()
	}
	c.env.Notice.Detail("connected to %s by %s", c.cluster.Transport().Server(), conn.Protocol())
	return nil
}

// Ended implements stream.Driver.
func (d *driver) Ended(ctx context.Context, err error) error {
	if err == nil && d.shell != nil && d.mayBeFalse() && d.shellRuns(ctx) {
		err = &stream.LostError{Err: errShellRuns}
	}
	err = d.watch.ended(ctx, err)
	var remote *stream.RemoteError
	if errors.As(err, &remote) && remote.NotRunning() {
		return d.cmd.Target().unlessResolved(ctx, err)
	}
	return err
}

// errShellRuns means that the server reports success for a shell that still
// runs, or whose node does not answer.
var errShellRuns = errors.New("the server reports that the shell has ended, but it still runs")

// mayBeFalse reports whether a reported success may be false, and shellRuns
// must check it. A success is not checked if the user has just typed exit,
// logout or Ctrl-D. It is checked only with V5, because API servers translate
// WebSocket to SPDY only with V5. They do so only if the kubelet is older than
// Kubernetes 1.36, but to request the version of the kubelet would take longer
// than shellRuns.
func (d *driver) mayBeFalse() bool {
	return d.cmd.Report().Protocol == stream.V5 && !d.cmd.in.exitTyped()
}

// shellRuns reports whether the shell still runs in its container. It also
// returns true if there is no answer within Limits.Verify, because the
// container's node may be dead, or if ctx is canceled before the answer.
//
// When a node's kubelet dies, API servers that translate WebSocket to SPDY for
// the kubelet (Kubernetes 1.30 to 1.35) report success for the sessions that
// were cut off. Therefore Ended calls shellRuns if the server reports success
// for a shell and the user has typed nothing that ends a shell. A command
// without a tty does not need this check, because the script of exact mode
// reports its outcome.
func (d *driver) shellRuns(ctx context.Context) bool {
	probe := d.shell.AliveCommand()
	if probe == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, d.cmd.limits.Verify)
	defer cancel()
	err := d.cmd.RunInternal(ctx, probe)
	return err == nil || ctx.Err() != nil || isUnanswered(err)
}

// hangUpOld ends the shell of the previous connection, if there was one, in the
// background while the new shell starts. It does nothing if the new shell is in
// another container, where the old process ID is meaningless, or if KeepRunning
// is set.
func (d *driver) hangUpOld() {
	c, old, t := d.cmd, d.shell.HangUpCommand(), d.opened
	d.shell.Reset()
	if old != nil && !c.options.KeepRunning && t == c.Target() {
		c.hangUps.Go(func() {
			defer c.env.Cleanup.OnPanic()
			c.terminate(d.ctx, t, old)
		})
	}
}

// requestTimeout is the time limit of one check of the session's pod or
// container.
const requestTimeout = 8 * time.Second

// errEndUnknown means that the command has ended, but that the server does not
// report how, because the server is blocked by input that the command has not
// read.
var errEndUnknown = errors.New("the command has ended without reading all of its input; " +
	"the server is blocked by the rest and does not report the result")

// errContainerEnded means that the container, and everything in it, has ended.
var errContainerEnded = errors.New("the container has ended, and the server does not report the result of the command")

// errCommandGone means that the command has ended, but the connection has not
// reported its result. The connection is probably dead.
var errCommandGone = errors.New("the command has ended, but nothing arrives any more")

// checkTimeout is the time limit of each of the two parts of CheckStuck.
const checkTimeout = requestTimeout / 2

// CheckStuck implements stream.StuckChecker. It checks whether the container
// and a command in it are still running.
func (d *driver) CheckStuck(ctx context.Context) error {
	c := d.cmd
	c.env.Notice.Detail("the server sends nothing, and may be blocked by unread input: checking the pod")
	over, answered := d.containerEnded(ctx)
	if over {
		return errContainerEnded
	}
	if d.run != nil {
		return d.checkScript(ctx, answered)
	}
	limited, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var exit *stream.ExitError
	switch err := c.RunInternal(limited, exact.ProbeCommand()); {
	case err == nil: // the command runs
	case errors.As(err, &exit) && exit.Code == exact.NoneLeft:
		return errEndUnknown
	case isUnreachable(limited, err): // if the session continues, CheckStuck is called again later
		return unlessAnswered(answered)
	default:
		c.noteStuck.Do(func() {
			c.env.Notice.Note("the server accepts no input and sends nothing; " +
				"it is not known whether the command still runs")
		})
	}
	return nil
}

// containerEnded reports whether the session's container has ended, and whether
// the server has answered.
func (d *driver) containerEnded(ctx context.Context) (over, answered bool) {
	found := d.cmd.Target().found()
	if found == nil {
		return false, false
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	_, over, err := d.cmd.cluster.BackgroundPods().DescribeChange(ctx, found)
	return err == nil && over, err == nil
}

// goneTimeout is how long CheckStuck waits for the connection to report the
// result of a command that has ended. After an outage of the network, TCP may
// take that long to deliver the report.
const goneTimeout = 30 * time.Second

// checkScript is the second part of CheckStuck in exact mode: it checks whether
// the command runs. In exact mode, the end of the command is reported even if
// the command has not read all of its input. So if there is no report
// goneTimeout after the command was found to have ended, checkScript returns a
// LostError.
func (d *driver) checkScript(ctx context.Context, answered bool) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	alive := d.run.AliveCommand()
	if alive == nil {
		return unlessAnswered(answered)
	}
	var exit *stream.ExitError
	err := d.cmd.RunInternal(ctx, alive)
	gone := errors.As(err, &exit) && exit.Code == exact.CommandGone
	switch {
	case gone && !d.goneSince.IsZero() && time.Since(d.goneSince) >= goneTimeout:
		return &stream.LostError{Err: errCommandGone}
	case gone && d.goneSince.IsZero():
		d.goneSince = time.Now()
	case gone:
	case err != nil && isUnreachable(ctx, err):
		return unlessAnswered(answered)
	default:
		d.goneSince = time.Time{}
	}
	return nil
}

// unlessAnswered returns nil if answered is set, and stream.ErrUnanswered
// otherwise.
func unlessAnswered(answered bool) error {
	if answered {
		return nil
	}
	return stream.ErrUnanswered
}

// isUnreachable reports whether err, from an attempt to run a command with ctx,
// means that the server did not answer.
func isUnreachable(ctx context.Context, err error) bool {
	var dial *stream.DialError
	return ctx.Err() != nil || errors.As(err, &dial)
}
