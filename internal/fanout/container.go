package fanout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/terminal"
)

// Settings is what the commands of one Run share. They may use it concurrently.
type Settings struct {
	Env       remote.Env // Out and Err are not used
	Cluster   *remote.Cluster
	Options   remote.Options // of a command without a tty
	StdinFile string         // each command reads it from the beginning; if empty, commands read Env.In
	// WaitRunning is how long Open waits for a container that does not run yet.
	WaitRunning time.Duration

	images remote.ImageCache
}

// ContainerCommand is the command in one container. It implements Command.
type ContainerCommand struct {
	settings *Settings
	command  []string // replaces settings.Options.Command if it is not nil
	target   remote.Target
	remote   *remote.Command // set by Run
}

// NewContainerCommand returns the command in container t. A type that embeds a
// ContainerCommand may create the container in its method Open. In that case, t
// contains only the namespace, and Open must call SetTarget.
func NewContainerCommand(s *Settings, t remote.Target) *ContainerCommand {
	return &ContainerCommand{settings: s, target: t}
}

// SetTarget sets the container. If command is not nil, it replaces the command
// of the settings.
func (c *ContainerCommand) SetTarget(t remote.Target, command []string) {
	c.target, c.command = t, command
}

// Open implements Command. The container is already running.
func (c *ContainerCommand) Open(context.Context, *notice.Printer) error { return nil }

// Container implements Command.
func (c *ContainerCommand) Container() Container {
	return Container{Pod: c.target.Pod, Name: c.target.Container}
}

// Run implements Command.
func (c *ContainerCommand) Run(ctx context.Context, n *notice.Printer, stdout, stderr io.Writer) error {
	env, o := c.settings.Env, c.settings.Options
	env.Notice, env.Out, env.Err = n, stdout, stderr
	o.Images, o.StrictStderr = &c.settings.images, true
	if c.command != nil {
		o.Command = c.command
	}
	if name := c.settings.StdinFile; name != "" {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("--stdin-file %s: %w", name, errors.Unwrap(err)) // a *fs.PathError
		}
		defer func() { _ = file.Close() }() // the file was only read
		env.In = file
	}
	cmd, err := remote.New(env, c.settings.Cluster, c.target, o)
	if err != nil {
		return err
	}
	if o.Stdin {
		input, err := terminal.NewInput(env.In)
		if err != nil {
			return fmt.Errorf("stdin: %w", err)
		}
		cmd.SetInput(input)
	}
	c.remote = cmd
	return cmd.Run(ctx)
}

// Status implements Command.
func (c *ContainerCommand) Status(start time.Time, err error) outcome.Status {
	if c.remote != nil {
		return c.remote.Report().Status(start, err)
	}
	s := outcome.NewStatus(start, err)
	s.Namespace, s.Pod, s.Container = c.target.Namespace, c.target.Pod, c.target.Container
	return s
}

// Close implements Command. It releases the pod and the remote command, so the
// garbage collector can free them while Run still runs other commands.
func (c *ContainerCommand) Close() { c.target.Found, c.remote = nil, nil }
