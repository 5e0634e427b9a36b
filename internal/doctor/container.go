package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kshell/internal/agentbin"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/resume"
	"kshell/internal/stream"
)

// execLimit is the time limit of a check that runs a command. It is longer than
// the time after which an API server reports that it cannot reach a node.
const execLimit = 40 * time.Second

// checkPod finds the pod and its container.
func checkPod(ctx context.Context, d *diagnosis) finding {
	if !d.Named {
		return skipped("no pod is named: `%s doctor POD` also checks a container", d.Name)
	}
	var err error
	d.webSocketOnly, err = remote.NewCluster(d.Env, d.conn.Config, true)
	if err != nil {
		return failure(ctx, err)
	}
	r := pod.Request{Namespace: d.conn.Namespace, Target: d.Target, Container: d.Container}
	if d.target, err = remote.Resolve(ctx, d.Env, d.cluster, r, 0); err != nil {
		return failure(ctx, err)
	}
	text := "pod " + d.target.Pod
	if d.target.Found == nil {
		return warning("", "%s was not checked, because you may not get pods", text)
	}
	f := passed("%s, container %s, on node %s", text, d.target.Container, cmp.Or(d.target.Node(), "(none)"))
	return f.with(d.target.Found.Notes...)
}

// options returns the options for the command `true`.
func (d *diagnosis) options() remote.Options {
	return remote.Options{
		Command: []string{"true"}, Exact: remote.ExactNever, Protocols: stream.Protocols(),
		Pod: pod.Request{Target: d.Target, Container: d.Container}, Reconnect: remote.ReconnectNever,
		Keepalive: d.settings.Keepalive,
	}
}

// runTrue runs `true` in the container, without kshell's script.
func (d *diagnosis) runTrue(ctx context.Context, webSocketOnly bool, protocols []string) (remote.Report, error) {
	o := d.options()
	o.Protocols, o.ProtocolsChosen = protocols, webSocketOnly
	c := d.cluster
	if webSocketOnly {
		c = d.webSocketOnly
	}
	command, err := remote.New(d.Env, c, d.target, o)
	if err != nil {
		return remote.Report{}, err
	}
	err = command.Run(ctx)
	return command.Report(), err
}

// reached reports whether a command that ended with err reached the container: it
// ran, or the container does not have it, or could not run it. Some subprotocols
// do not report how the command ended.
func reached(err error) bool {
	var exit *stream.ExitError
	return err == nil || errors.As(err, &exit) || notStarted(err)
}

// notStarted reports whether err means that the container does not have the
// command, or could not run it.
func notStarted(err error) bool {
	var failed *stream.RemoteError
	return errors.As(err, &failed) && (failed.Start == stream.StartNotFound || failed.Start == stream.StartNotExecutable)
}

// started returns f with what err reports about `true`, which has reached the
// container: its exit code is not 0, or the container could not run it.
func started(f finding, err error) finding {
	var exit *stream.ExitError
	switch {
	case errors.As(err, &exit):
		f.status = Warning
		return f.with(fmt.Sprintf("`true` exited with code %d", exit.Code))
	case notStarted(err):
		return f.with("the container has no command `true`, which was tried")
	}
	return f
}

// checkExact runs `true` in exact mode.
func checkExact(ctx context.Context, d *diagnosis) finding {
	o := d.options()
	o.Scripts, o.Exact = true, remote.ExactAuto
	command, err := remote.New(d.Env, d.cluster, d.target, o)
	if err != nil {
		return failure(ctx, err)
	}
	err = command.Run(ctx)
	report := command.Report()
	if report.Mode == remote.ModePlain && reached(err) {
		return warning("put an sh into the image; without it, a lost connection may be reported as success, and "+
			"--env, --workdir and --resume are not possible",
			"exact mode is not possible: %s", cmp.Or(report.Inexact, "the container cannot run kshell's script"))
	}
	if !reached(err) {
		return failure(ctx, err)
	}
	return started(passed("exact mode is possible: true exit codes and whole output"), err)
}

// checkAgents reports the session agents that this kshell contains.
func checkAgents(_ context.Context, d *diagnosis) finding {
	if !d.Agents {
		return warning("build kshell by `make build`, which also builds the agents",
			"this kshell contains no session agents: --resume is not possible")
	}
	return passed("this kshell contains session agents for linux/%s",
		strings.Join(agentbin.Architectures, ", linux/"))
}

// checkResume checks whether the session agent can be started in the container.
func checkResume(ctx context.Context, d *diagnosis) finding {
	if !d.Agents {
		return skipped("this kshell contains no session agents")
	}
	command, err := remote.New(d.Env, d.cluster, d.target, remote.Options{ResumeDirs: d.settings.ResumeDirs})
	if err != nil {
		return failure(ctx, err)
	}
	facts, err := command.ProbeResume(ctx)
	var unable *resume.UnableError
	switch {
	case errors.As(err, &unable):
		return failure(ctx, err).as(Warning)
	case err != nil:
		return failure(ctx, err)
	}
	f := passed("--resume is possible: architecture %s, directory %s", facts.Arch, facts.Dirs[0])
	for _, dir := range facts.NoExec {
		f = f.with(fmt.Sprintf("%s cannot be used: it is mounted with noexec", dir))
	}
	return f.with("nothing was written: whether the agent runs is known only when it is started")
}
