package remote

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/resume"
	"kshell/internal/stream"
)

// Options describe what a Command runs, and how.
type Options struct {
	Program    string   // what the user types for this kind of command, for hints: "kshell exec"; empty: no such hints
	Command    []string // with its arguments; empty means a shell
	Stdin, TTY bool
	Env        []string // variables for the command, as NAME=VALUE
	Dir        string   // working directory of the command; empty means that of the container
	ShellEnv   []string // more variables, if a script starts the command on a tty; see exact.NewShell

	Scripts       bool // kshell's scripts may be run in the container
	Exact         ExactMode
	KeepRunning   bool // see exact.Options
	EndIfInputCut bool // see exact.Options

	Protocols       []string // the subprotocols to offer
	ProtocolsChosen bool     // the user has chosen Protocols
	InputEnds       bool     // stdin may end; the subprotocol must be able to signal that

	Pod    pod.Request // finds the pod for a new connection; its namespace is that of the Target
	Images *ImageCache // shared by commands in many pods; nil for one pod

	StrictStderr bool // an error of Env.Err ends the command; otherwise such errors are ignored

	Reconnect        ReconnectMode
	ReconnectTimeout time.Duration // 0 means no limit
	ConnectTimeout   time.Duration // for attempts to connect before anything runs; 0 means one attempt
	Keepalive        time.Duration // see stream.Settings
	IdleKeepalive    bool          // see stream.Settings

	Resume        ResumeMode
	ResumeDirs    []string      // directories in the container for the session agent, before resume.DefaultDirs
	ResumeBuffer  int           // bytes of output that the agent keeps; 0 means its default
	ResumeTimeout time.Duration // how long the session lives without clients; 0 means the agent's default

	// Attach, if not nil, is a session of the session agent in the container, one
	// that Sessions has returned: the command attaches to it and starts nothing.
	// Then TTY and Stdin must be set if the session has a terminal, and Resume
	// and Command are not used.
	Attach *resume.Info
}

// ResumeMode is the policy of sessions that survive a lost connection. Such a
// session is run by the session agent in the container (internal/resume).
type ResumeMode int

const (
	// ResumeNever does not use the agent.
	ResumeNever ResumeMode = iota
	// ResumeAuto uses the agent if the container can run it and its upload takes
	// at most 5 s. Otherwise, the command runs without it.
	ResumeAuto
	// ResumeAlways fails if the agent cannot be started.
	ResumeAlways
)

// ExactMode is the policy of exact mode; see internal/exact.
type ExactMode int

const (
	// ExactAuto uses exact mode if the container can run its script.
	ExactAuto ExactMode = iota
	// ExactAlways fails if exact mode is not possible.
	ExactAlways
	// ExactNever does not use exact mode.
	ExactNever
)

// ReconnectMode is the policy after a connection is lost.
type ReconnectMode int

const (
	// ReconnectAuto reconnects a session on a terminal.
	ReconnectAuto ReconnectMode = iota
	// ReconnectAlways also reconnects other sessions: their commands are run
	// again.
	ReconnectAlways
	// ReconnectNever does not reconnect.
	ReconnectNever
)

// reconnect returns the reconnect policy of the command's sessions. If the
// session agent runs the command, a new connection does not start it again.
func (c *Command) reconnect() stream.Reconnect {
	o := &c.options
	if o.Reconnect == ReconnectAlways || o.Reconnect == ReconnectAuto && (o.TTY || c.Resumes()) {
		return stream.ReconnectAlways
	}
	return stream.ReconnectNever
}

// backoff returns the delays between attempts to reconnect. With jitter, a
// delay is at most 15 s.
func backoff() wait.Backoff {
	return wait.Backoff{
		Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 100, Cap: 12500 * time.Millisecond,
	}
}

// hasEnvironment reports whether the command needs a script that sets variables
// or the working directory.
func (o *Options) hasEnvironment() bool { return len(o.Env) > 0 || o.Dir != "" }

// plainProtocols returns the subprotocols to offer for a command without a
// script: if stdin may end, only those that can signal the end of stdin.
func (o *Options) plainProtocols() ([]string, error) {
	if !o.InputEnds {
		return o.Protocols, nil
	}
	closing := stream.HalfClosing(o.Protocols)
	if len(closing) == 0 {
		return nil, notice.WithHint(
			fmt.Errorf("%s cannot tell the command that its input has ended: it would wait forever",
				strings.Join(o.Protocols, ", ")),
			"offer "+stream.V5+" too, or omit -i",
		)
	}
	return closing, nil
}

// offerExact adds the subprotocols to r, the request of a command in exact mode.
// The script tells the client that the command has ended, so stdin need not be
// closed, and V4 is sufficient. With V4, commands start sooner and output
// arrives sooner, because servers pass V4 on, but translate V5 to SPDY. With V5, input is
// transferred faster. bulk means that the input may be long: see docs/performance.md.
//
// V5 is not offered beside V4, because servers would select it.
func (o *Options) offerExact(r stream.Request, bulk bool) stream.Request {
	r.Protocols = o.Protocols
	if !o.ProtocolsChosen && !bulk {
		r.Protocols, r.Rest = stream.WithoutHalfClose(o.Protocols), o.Protocols
	}
	return r
}

// withEnv returns the command for a container in which kshell's script cannot
// run. The program env of the container sets the variables of Env. If Dir is
// set, withEnv returns an error, because no program of the container can set
// it.
func (o *Options) withEnv() ([]string, error) {
	switch {
	case o.Dir != "":
		return nil, errNoDirectory
	case len(o.Env) == 0:
		return o.Command, nil
	case len(o.Command) == 0 || strings.Contains(o.Command[0], "="): // env would take the name for a variable
		return nil, errNoEnv
	}
	return slices.Concat([]string{"env"}, o.Env, o.Command), nil
}

// envMissing returns err, or errNoEnv if err means that the container does not
// have the program env of withEnv.
func (c *Command) envMissing(err error) error {
	if len(c.options.Env) > 0 && isNotFound(err) {
		return errNoEnv
	}
	return err
}

// errNoEnv means that --env is not possible, because neither kshell's script
// nor env can be run in the container.
var errNoEnv = notice.WithHint(
	errors.New("--env needs env in the container, or an sh that can run kshell's script"),
	"omit --env to run the command without these variables",
)

// errNoDirectory means that --workdir is not possible, because kshell's script
// cannot be run in the container.
var errNoDirectory = notice.WithHint(
	errors.New("--workdir needs an sh in the container that can run kshell's script"),
	"omit --workdir to run the command in the container's working directory",
)
