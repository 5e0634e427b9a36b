package nodeshell

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/apiclient"
	"kshell/internal/cleanup"
	"kshell/internal/interactive"
	"kshell/internal/node"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

// Pod is a pod that kshell created on a node, or attaches to.
type Pod struct {
	manager    *Manager
	notice     *notice.Printer
	options    node.Options
	object     *corev1.Pod
	found      *pod.Found // set when the pod runs
	unregister func()     // undoes the registration of Remove as a cleanup

	// These fields are atomic because, after a panic, any goroutine may call
	// Remove, which uses them.
	keep    atomic.Bool                   // leave the pod running
	ended   atomic.Bool                   // its shell has ended
	session atomic.Pointer[attachSession] // the session of this kshell; other clients may be attached, too
}

// Open creates a pod on a node and waits until it runs. The caller must call
// Remove on a pod that is returned, even if Open also returns an error.
func (m *Manager) Open(ctx context.Context, n *notice.Printer, name string) (*Pod, error) {
	o, err := m.checkedOptions(ctx, n, name)
	if err != nil {
		return nil, err
	}
	p, err := m.create(ctx, n, o)
	if err != nil {
		return nil, err
	}
	err = p.wait(ctx)
	var notRunning *pod.NotRunningError
	if !errors.As(err, &notRunning) || !notRunning.RefusesPropagation() {
		return p, err
	}
	p.Remove()
	n.Detail("node %s refuses mount propagation because its root is a private mount: "+
		"the pod is created again without it", name)
	if o.NeedsPropagation() {
		n.Note("file systems that are mounted on node %s from now on are not visible here: "+
			"the node's root is a private mount", name)
	}
	o.Name, o.NoPropagation = node.Name(name), true
	if p, err = m.create(ctx, n, o); err != nil {
		return nil, err
	}
	return p, p.wait(ctx)
}

// Target returns the container of the running pod.
func (p *Pod) Target() remote.Target {
	return remote.Target{Namespace: p.object.Namespace, Pod: p.object.Name, Container: node.Container, Found: p.found}
}

// Command returns the command line that must be run in the container to run
// command on the node; see node.Options.Command.
func (p *Pod) Command(command []string) []string { return p.options.Command(command) }

// wait waits until the pod runs.
func (p *Pod) wait(ctx context.Context) error {
	begin := time.Now()
	if !p.options.Detached {
		p.manager.cluster.Transport().Prepare() // the connection of the command
	}
	found, err := p.waitRunning(ctx, pod.Request{
		Namespace: p.object.Namespace, Target: pod.Target{Kind: "pod", Name: p.object.Name}, Container: node.Container,
	}, p.options.StartTimeout)
	if err != nil {
		return outcome.ContextCause(ctx, explainStart(err))
	}
	took := time.Since(begin).Round(10 * time.Millisecond)
	p.notice.Detail("pod %s runs on node %s after %v", p.object.Name, p.options.Node, took)
	p.found = found
	return nil
}

// run runs the command, or a shell that kshell cannot attach to, next to the
// main process of the pod. run stores the command in started before it runs it.
func (p *Pod) run(ctx context.Context, in io.Reader, started *atomic.Pointer[remote.Command]) error {
	m := p.manager
	env, o := m.env, m.options.Command
	env.In = in
	if len(o.Command) == 0 {
		reason := "--no-log"
		if p.options.Windows {
			reason = "Windows node"
		}
		p.notice.Note("kshell cannot attach to this shell again if the connection breaks (%s)", reason)
	}
	o.Command, o.Pod.Target = p.options.Command(o.Command), pod.Target{Kind: "pod", Name: p.object.Name}
	o.Program = "" // no hints with other commands for the pod, because the pod is deleted at the end
	c, err := remote.New(env, m.cluster, p.Target(), o)
	if err != nil {
		return err
	}
	started.Store(c)
	defer p.startHeartbeats(ctx, c, "")()
	return interactive.RunCommand(ctx, c, m.options.Console)
}

// explainStart adds a hint if the node cannot pull the image, or the image has
// no sh.
func explainStart(err error) error {
	if !pod.ImageUnusable(err) {
		return err
	}
	return notice.WithHint(notice.WithMessage(err, err.Error()),
		"use --image, or the setting node-image, to name an image that the node can pull and that has sh and nsenter")
}

// errNoAnswer means that the server did not answer the request to delete a pod
// in time.
var errNoAnswer = errors.New("the server did not answer")

// Remove deletes the pod, unless it is left running or other clients are
// attached. It warns if the pod may still exist.
func (p *Pod) Remove() {
	defer p.unregister()
	ctx, cancel := p.manager.env.Cleanup.Context()
	defer cancel()
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	defer p.reportRemoval(ctx, leave)()
	if s := p.session.Load(); s != nil && !p.ended.Load() && s.othersAttached(ctx) || p.keep.Load() {
		return
	}
	if err := p.manager.nodes.Remove(ctx, p.object); err != nil {
		switch {
		case errors.Is(context.Cause(ctx), errNotAwaited):
			err = errNotAwaited
		case errors.Is(err, ctx.Err()):
			err = errNoAnswer
		default:
			err = apiclient.Plain(err)
		}
		p.notice.WarnAlways("pod %s in namespace %s could not be deleted: %s; "+
			"the pod ends %s after the last heartbeat, and at %s at the latest",
			p.object.Name, p.object.Namespace, err, p.options.HeartbeatTimeout,
			p.object.CreationTimestamp.Add(p.options.TTL).Format(time.TimeOnly))
		p.notice.Hint("type `kubectl delete pod %s -n %s`", p.object.Name, p.object.Namespace)
		return
	}
	p.notice.Detail("pod %s was deleted", p.object.Name)
}

// errNotAwaited means that the user typed Ctrl-D while Remove was waiting for
// the server.
var errNotAwaited = errors.New("kshell was left before the server answered")

// reportRemoval prints that Remove is waiting for the API server, if the wait
// takes longer than Limits.Progress. After the message, Ctrl-D calls leave. If
// kshell did not read Ctrl-D, it would end the user's local shell. stop ends
// the reporting. reportRemoval does nothing if ctx ends within twice
// Limits.Progress, as after a signal.
func (p *Pod) reportRemoval(ctx context.Context, leave func(error)) (stop func()) {
	delay := p.manager.options.Limits.Progress
	if end, limited := ctx.Deadline(); limited && time.Until(end) < 2*delay {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var reporting sync.WaitGroup
	reporting.Go(func() {
		defer p.manager.env.Cleanup.OnPanic()
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		s, keys := p.session.Load(), "press Ctrl-C to cancel"
		if s != nil && interactive.ReportsEOF {
			keys = "Ctrl-D: quit"
		}
		p.notice.Note("waiting for the API server to delete pod %s (up to %v, %s)",
			p.object.Name, cleanup.Timeout, keys)
		if s != nil && s.console.AwaitEOF(ctx) {
			leave(errNotAwaited)
		}
	})
	return func() {
		cancel()
		reporting.Wait()
	}
}

// leaveRunning makes Remove keep the pod, and prints that it is left running
// and how to attach to it.
func (p *Pod) leaveRunning() {
	p.keep.Store(true)
	p.manager.leftRunning.Store(true)
	p.notice.NoteAlways("pod %s is left running on node %s until %s; attach to it with: %s --attach -n %s %s",
		p.object.Name, p.object.Spec.NodeName, p.object.CreationTimestamp.Add(p.options.TTL).Local().Format(time.DateTime),
		p.manager.options.Program, p.object.Namespace, p.object.Name)
}
