package interactive

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"kshell/internal/remote"
	"kshell/internal/stream"
	"kshell/internal/terminal"
)

// Options configure the sessions of a command on a terminal.
type Options struct {
	// Escape is the character that, typed at the beginning of a line, makes the
	// next key a command for kshell. terminal.NoEscape disables these keys.
	Escape byte
	// SameShell means that a new connection continues the shell of the
	// previous connection.
	SameShell bool
	// Detacher handles the key that leaves the shell running; nil disables the
	// key, except if the session agent runs the shell.
	Detacher Detacher
	// LossHint is a hint for the user that is printed when the first lost shell
	// was replaced by a new one in the same container. It may be empty.
	LossHint string
	// IdleTimeout ends a session in which no key is typed for this time, with an
	// outcome.IdleError; 0 means no limit.
	IdleTimeout time.Duration
	// Notice is printed before the first connection of the command, even with -q.
	// It may be empty.
	Notice string
	Limits Limits
}

// Detacher ends a session and leaves the shell running.
type Detacher interface {
	// Detach ends the session if the shell can be left running. It must not
	// block.
	Detach()
}

// Limits are time limits. Zero values mean the defaults.
type Limits struct {
	RoundTrip time.Duration // limit of the measurement for keyInfo, during which no keys are read; by default 1 s
	Interrupt time.Duration // after Ctrl-C, for a command that has written no output to write some; by default 2 s
}

func (l Limits) withDefaults() Limits {
	if l.RoundTrip == 0 {
		l.RoundTrip = time.Second
	}
	if l.Interrupt == 0 {
		l.Interrupt = 2 * time.Second
	}
	return l
}

// Run runs the command, or a shell, on the local terminal. Its errors are those
// of remote.Command.Run, outcome.ErrLeft, outcome.IdleError and
// *outcome.GaveUpError.
func Run(ctx context.Context, cmd *remote.Command, o Options) error {
	return cmd.RunTTY(ctx, New(cmd, o))
}

// RunCommand runs the command on the local terminal if the command has a tty.
// Otherwise it runs the command without a terminal; if the command has a stdin,
// that is Env.In. The errors of RunCommand are those of Run.
func RunCommand(ctx context.Context, cmd *remote.Command, o Options) error {
	switch c := cmd.Options(); {
	case c.TTY:
		return Run(ctx, cmd, o)
	case c.Stdin:
		input, err := terminal.NewInput(cmd.Env().In)
		if err != nil {
			return fmt.Errorf("stdin: %w", err)
		}
		cmd.SetInput(input)
	}
	return cmd.Run(ctx)
}

// Console is the local terminal of a command. It shows the output of the
// command's sessions, which run one after another. It implements
// remote.Terminal and remote.Display.
type Console struct {
	cmd     *remote.Command
	env     remote.Env
	options Options
	screen  *terminal.Screen
	notice  sync.Once // prints Options.Notice
}

// New returns the Console of cmd, and makes it the Display of cmd.
func New(cmd *remote.Command, o Options) *Console {
	o.Limits = o.Limits.withDefaults()
	c := &Console{cmd: cmd, env: cmd.Env(), options: o, screen: terminal.NewScreen(cmd.Stdout())}
	cmd.SetDisplay(c)
	return c
}

// ReportsEOF reports whether AwaitEOF can return true on this system.
const ReportsEOF = terminal.ReportsEOF

// AwaitEOF waits until Ctrl-D is typed after the last session was closed; see
// terminal.AwaitEOF.
func (c *Console) AwaitEOF(ctx context.Context) bool { return terminal.AwaitEOF(ctx, c.env.In) }

// Output implements remote.Terminal.
func (c *Console) Output() io.Writer { return c.screen }

// Run implements remote.Terminal: it opens a session, runs it and closes it.
func (c *Console) Run(ctx context.Context, d stream.Driver, set stream.Settings) error {
	s, err := c.Open()
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Run(ctx, d, set)
}
