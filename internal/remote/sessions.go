package remote

import (
	"context"
	"errors"
	"slices"

	"kshell/internal/resume"
	"kshell/internal/stream"
)

// Sessions returns the sessions of the session agent in the container, for each
// agent that is in one of the directories of Options.ResumeDirs or in one of
// resume.DefaultDirs.
func (c *Command) Sessions(ctx context.Context) ([]resume.Info, error) {
	out, err := c.internalOutput(ctx, resume.ListArgv(c.options.resumeDirs()))
	if err != nil {
		return nil, err
	}
	infos, removed, err := resume.ParseList(out)
	for _, dir := range removed {
		c.env.Notice.Detail("removed %s in pod %s, container %s: its session agent does not run any more",
			dir, c.Target().Pod, c.Target().Container)
	}
	return infos, err
}

// EndSession ends a session that Sessions has returned.
func (c *Command) EndSession(ctx context.Context, s resume.Info) error {
	_, err := c.internalOutput(ctx, resume.EndArgv(s.Dir, s.Session))
	return err
}

// attach attaches to the session Options.Attach: run runs a session.
func (c *Command) attach(ctx context.Context, run func() error) error {
	s := c.options.Attach
	defer c.useAgent(nil, s.Dir, s.Session)()
	return c.explainEnd(ctx, run())
}

// StartDetached starts the command by the session agent and leaves it running,
// without input. It returns the ID of its session.
func (c *Command) StartDetached(ctx context.Context) (id string, err error) {
	c.options.Resume, c.detached = ResumeAlways, true
	start := c.start(false)
	_, err = c.runByAgent(ctx, start, func() (err error) {
		d := c.agentDriver(ctx)
		defer d.watch.end()
		set := c.Settings()
		set.Stdin, set.Stdout, set.Stderr = nil, noOutput{}, noOutput{}
		session := c.NewSession(d, func(stream.Event) {}, set)
		d.opens = session.Detach
		err = session.Run(ctx)
		id = c.resumption.session.ID() // each attempt to start has another ID
		if c.resumption.begun() && (errors.Is(err, resume.ErrDetached) || errors.Is(err, errNoOutput)) {
			return nil
		}
		return err
	})
	return id, c.explainRefused(ctx, err)
}

// noOutput is the output of a client that only starts a session. It acknowledges
// no output, so that the first client that attaches receives all of it.
type noOutput struct{}

// errNoOutput is the error of noOutput.
var errNoOutput = errors.New("the output is left to the next client")

// Write implements io.Writer.
func (noOutput) Write([]byte) (int, error) { return 0, errNoOutput }

// resumeDirs returns the directories in which the session agent may be, in the
// order in which they are tried.
func (o *Options) resumeDirs() []string { return slices.Concat(o.ResumeDirs, resume.DefaultDirs) }

// maxInternalOutput is the maximum output of one of kshell's own commands, in
// bytes.
const maxInternalOutput = 1 << 20

// internalOutput is like RunInternal, and returns the stdout of the command.
func (c *Command) internalOutput(ctx context.Context, command []string) ([]byte, error) {
	var out limitedBuffer
	err := c.runInternalWith(ctx, c.Target(), command, &out)
	return out.data, err
}

// limitedBuffer keeps what is written to it, up to maxInternalOutput bytes.
type limitedBuffer struct{ data []byte }

// errTooMuchOutput means that a command has written more than
// maxInternalOutput.
var errTooMuchOutput = errors.New("kshell's command in the container has written too much output")

// Write implements io.Writer.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if len(b.data)+len(p) > maxInternalOutput {
		return 0, errTooMuchOutput
	}
	b.data = append(b.data, p...)
	return len(p), nil
}
