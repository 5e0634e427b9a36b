package remote

import (
	"cmp"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"kshell/internal/apiclient"
	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// Command is one command in one container, like exec.Cmd: New returns it, Run
// or RunTTY runs it once, and Report describes the run. Any goroutine may call
// Target, Report, Alert, ClearAlert and RunInternal. Only the goroutine that
// runs the command may call the other methods.
type Command struct {
	env     Env
	cluster *Cluster
	options Options
	limits  Limits

	in       input
	out, err counter

	uploading  atomic.Bool // the session agent is being uploaded
	noShInPath atomic.Bool // the container's PATH has no sh: kshell's scripts are run with /bin/sh
	noteStuck  sync.Once   // prints the note that it is not known whether the command still runs
	hangUps    sync.WaitGroup

	// Used by the goroutine that runs the command.
	image      imageTrial
	shortLine  bool           // the script of exact mode is sent on stdin, because the server limits the request line
	noSh       bool           // no sh was found, neither in the PATH nor as /bin/sh
	upload     uploadProgress // of the session agent
	resumption *resumption    // how the session agent runs the command; nil if it does not
	detached   bool           // StartDetached was called
	killed     bool           // the command was killed because its container ended; the user was told so

	mu      sync.Mutex // protects the following
	target  Target
	display Display // nil if the command does not use a terminal
	report  Report
}

// Report describes a run of a command. The error that Run returned is not part
// of it.
type Report struct {
	Target    Target
	Protocol  string    // such as v5.channel.k8s.io or "SPDY/3.1 v4.channel.k8s.io"; empty if there was no connection
	Mode      string    // ModeExact, ModePlain or ModeResume; empty if nothing ran
	Inexact   string    // why exact mode was not possible; empty otherwise
	Session   string    // the ID of the session of the session agent; empty if the agent runs no command
	Connected time.Time // when the last connection was opened
	// How many bytes were read from stdin, and written to stdout and stderr.
	StdinBytes, StdoutBytes, StderrBytes int64
}

// Status returns the status record of the command, which started at start and
// has now ended with err.
func (r Report) Status(start time.Time, err error) outcome.Status {
	s := outcome.NewStatus(start, err)
	s.Namespace, s.Pod, s.Container = r.Target.Namespace, r.Target.Pod, r.Target.Container
	s.UID, s.Node = r.Target.UID(), r.Target.Node()
	s.Protocol, s.Mode, s.Session, s.Inexact = r.Protocol, r.Mode, r.Session, r.Inexact
	s.StdinBytes, s.StdoutBytes, s.StderrBytes = r.StdinBytes, r.StdoutBytes, r.StderrBytes
	if !r.Connected.IsZero() {
		s.Connected = &r.Connected
	}
	return s
}

// The values of Report.Mode.
const (
	ModeExact  = "exact"
	ModePlain  = "plain"
	ModeResume = "resume" // the session agent runs the command
)

// Display shows the state of a session on the local terminal. Any goroutine may
// call its methods.
type Display interface {
	// Alert warns of a problem of the session.
	Alert(message string)
	// Note shows a message that is not a problem.
	Note(message string)
	// ClearAlert removes the alert. It returns false if alerts are printed as
	// messages, which cannot be removed.
	ClearAlert() bool
	// Tidy resets the terminal modes that a program left set when it ended.
	Tidy()
}

// New returns a Command that runs in t. New may run a credential plugin.
// Without a terminal, the command has no stdin until SetInput is called.
func New(env Env, c *Cluster, t Target, o Options) (*Command, error) {
	cmd := &Command{
		env: env, cluster: c, options: o, limits: env.Limits.withDefaults(), target: t,
		out: counter{Writer: env.Out}, err: counter{Writer: env.Err},
	}
	if !o.StrictStderr {
		cmd.err.Writer = IgnoreErrors(env.Err)
	}
	if t.lookup != nil { // the lookup runs the plugin
		return cmd, nil
	}
	if err := cmd.holdCredentials(); err != nil {
		return nil, err
	}
	return cmd, nil
}

// holdCredentials calls HoldCredentials if requests may be made while the
// command uses the terminal.
func (c *Command) holdCredentials() error {
	if o := &c.options; o.TTY || o.Stdin || o.Attach != nil || o.Resume != ResumeNever {
		return c.cluster.HoldCredentials()
	}
	return nil
}

// Env returns the environment with which the Command was made.
func (c *Command) Env() Env { return c.env }

// Options returns the options with which the Command was made.
func (c *Command) Options() Options { return c.options }

// Cluster returns the clients of the API server.
func (c *Command) Cluster() *Cluster { return c.cluster }

// Stdout returns Env.Out. The Report counts the bytes that are written to it.
func (c *Command) Stdout() io.Writer { return &c.out }

// SetInput sets the command's stdin. The Report counts the bytes that are read
// from it.
func (c *Command) SetInput(in Input) { c.in.Input = in }

// Target returns the container of the last connection.
func (c *Command) Target() Target {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.target
}

func (c *Command) setTarget(t Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.target = t
}

// Report returns the state of the run. It may be called during the run.
func (c *Command) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.report
	r.Target = c.target
	r.StdinBytes, r.StdoutBytes, r.StderrBytes = c.in.count(), c.out.count(), c.err.count()
	return r
}

func (c *Command) setMode(mode, inexact string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Mode, c.report.Inexact = mode, inexact
}

// setSession records that the session agent has started or found a session.
func (c *Command) setSession(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Mode, c.report.Session, c.report.Inexact = ModeResume, id, ""
}

func (c *Command) setConnected(protocol string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Protocol, c.report.Connected = protocol, time.Now()
}

// SetDisplay makes d show the state of the session. Without a Display, alerts
// are printed as messages.
func (c *Command) SetDisplay(d Display) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.display = d
}

func (c *Command) currentDisplay() Display {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.display
}

// Alert warns the user of a problem of the session.
func (c *Command) Alert(message string) {
	if d := c.currentDisplay(); d != nil {
		d.Alert(message)
		return
	}
	c.env.Notice.WarnAlways("%s", message)
}

// note shows the user a message about the session that is not a problem.
func (c *Command) note(message string) {
	if d := c.currentDisplay(); d != nil {
		d.Note(message)
		return
	}
	c.env.Notice.Note("%s", message)
}

// ClearAlert removes the alert. It returns false if alerts are printed as
// messages, which cannot be removed.
func (c *Command) ClearAlert() bool {
	d := c.currentDisplay()
	return d != nil && d.ClearAlert()
}

func (c *Command) tidy() {
	if d := c.currentDisplay(); d != nil {
		d.Tidy()
	}
}

// Run runs a command without a tty, in exact or plain mode (see ExactMode), and
// returns nil only if the command succeeded. Its errors are those of
// stream.Session.Run, with hints.
func (c *Command) Run(ctx context.Context) error {
	return c.explainRefused(ctx, c.whileResolving(ctx, func() error { return c.run(ctx) }))
}

func (c *Command) run(ctx context.Context) error {
	switch {
	case c.options.Attach != nil:
		return c.attach(ctx, func() error { return c.runAgentSession(ctx) })
	case c.options.Resume != ResumeNever:
		ran, err := c.runOneShotByAgent(ctx)
		if ran {
			return err
		}
	}
	var inexact string
	c.image, inexact = c.options.Images.trial(ctx, c)
	defer c.image.settle("", false)
	mode := c.options.Exact
	if inexact != "" {
		mode = ExactNever
		c.setMode("", inexact)
		c.env.Notice.Detail("not in exact mode, like an earlier pod with this image: %s", inexact)
	}
	if mode != ExactNever {
		ran, err := c.runExact(ctx)
		if ran {
			return err
		}
	}
	return c.runPlain(ctx)
}

// runPlain runs the command without the script of exact mode. It returns the
// outcome that the server reports.
func (c *Command) runPlain(ctx context.Context) error {
	protocols, err := c.options.plainProtocols()
	if err != nil {
		return err
	}
	command, err := c.options.withEnv()
	if err != nil {
		return err
	}
	c.setMode(ModePlain, c.Report().Inexact)
	d := &driver{cmd: c, request: func(t Target) stream.Request {
		return t.Exec(command, c.options.Stdin, false, protocols)
	}}
	s := c.Settings()
	s.CheckStuck = s.Stdin != nil
	return c.explain(outcome.ContextCause(ctx, c.envMissing(c.runOneShot(ctx, d, s))), false)
}

// runOneShot runs a session without a terminal.
func (c *Command) runOneShot(ctx context.Context, d *driver, s stream.Settings) error {
	d.ctx, d.watch = ctx, c.newPodWatch()
	defer d.watch.end()
	s.Reconnect, s.GiveUpAfter = c.reconnect(), c.options.ReconnectTimeout
	o := &attemptObserver{notice: c.env.Notice}
	return c.NewSession(d, o.observe, s).Run(ctx)
}

// Settings returns the settings of the command's sessions: the limits and
// keepalives of the Options, the command's streams, and ReconnectNever.
func (c *Command) Settings() stream.Settings {
	o := &c.options
	s := stream.Settings{
		LinkSettings: stream.LinkSettings{
			Reconnect: stream.ReconnectNever, // a new connection would start a new process
			Backoff:   backoff(), ConnectTimeout: o.ConnectTimeout,
		},
		Stdout: &c.out, Stderr: &c.err,
		Keepalive: o.Keepalive, IdleKeepalive: o.IdleKeepalive,
		StartTimeout:  cmp.Or(c.cluster.Config().Timeout, apiclient.DefaultTimeout),
		UnlimitedDial: c.cluster.Prompts(), // a plugin may wait for the user
	}
	if c.in.Input != nil {
		s.Stdin = &c.in
	}
	return s
}
