package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/apiclient"
	"kshell/internal/interactive"
	"kshell/internal/node"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/stream"
)

// visit is a session attached to a shell that is the main process of a pod. It
// may span several connections, all to the same shell. Its fields belong to the
// goroutine of Run, except where marking uses them.
type visit struct {
	*nodePod
	client    *node.Client // client and pods make requests during the session
	pods      *pod.Client
	id        string // of this kshell among the clients of the shell
	command   *remote.Command
	console   *interactive.Console
	session   *interactive.Session // set by run, with the following
	driver    stream.Driver        // attaches
	ctx       context.Context
	leave     context.CancelCauseFunc
	tape      *node.Replay
	again     bool              // not the first connection to the shell
	outage    bool              // this connection follows one that was lost
	connected bool              // there was a connection
	end       *node.Termination // how the shell ended; nil until that is known
	gone      bool              // the pod no longer exists

	heard   chan node.Termination // how the shell ended, from a watch; closed when the watch ends
	marking sync.WaitGroup        // goroutines that print marks, watch the pod, or detach
	unmark  context.CancelFunc
}

// historyLines is the number of lines of earlier output that --attach shows.
const historyLines = 200

// errDetached means that kshell left the shell running.
var errDetached = errors.New("detached")

// attend attaches the local terminal to the shell of the pod. back is set if
// the shell was running before.
func (p *nodePod) attend(ctx context.Context, at remote.Target, back bool) (*remote.Command, error) {
	command, err := remote.New(p.env(), p.cluster, at, p.plan.exec.options())
	if err != nil {
		return nil, err
	}
	client, err := p.backgroundClient()
	if err != nil {
		return nil, err
	}
	v := &visit{
		nodePod: p, client: client, pods: p.cluster.BackgroundPods(), id: rand.Text(), command: command, unmark: func() {}, again: back,
		heard: make(chan node.Termination, 1),
	}
	v.console = interactive.New(command, interactive.Options{
		Escape: p.plan.exec.live.escapeChar(), SameShell: true, Detacher: v, Limits: terminalLimits,
	})
	v.driver = command.Driver(func(t remote.Target) stream.Request { return t.Attach(p.plan.exec.offer) })
	v.tape = &node.Replay{Output: v.console.Output(), OnGap: v.missing}
	sign := node.HeartbeatCommand(false, v.id)
	if back {
		if err := v.reach(ctx, sign); err != nil {
			return command, err
		}
		v.tape.StartAtTail(historyLines)
	}
	p.here.Store(v)
	p.notice.Note("what the shell prints is written to the container's log on the node (--no-log: it is not)")
	defer alive(ctx, command, p.options.HeartbeatTimeout, sign)()
	return command, v.run(ctx)
}

// backgroundClient returns a client for requests during a session.
func (p *nodePod) backgroundClient() (*node.Client, error) {
	cfg := p.cluster.BackgroundConfig()
	if cfg == p.cluster.Config() {
		return p.client, nil
	}
	client, err := node.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	client.OnIgnoredSelector = p.env().SelectorIgnored
	return client, nil
}

// missing warns that output printed before the connection may not be shown.
func (v *visit) missing(err error) {
	if v.outage {
		v.notice.WarnAlways("%s: output from the outage may be missing", err)
		return
	}
	v.notice.WarnAlways("%s: earlier output may be missing", err)
}

// run attaches the local terminal until the shell ends or kshell leaves it.
func (v *visit) run(ctx context.Context) (err error) {
	if v.session, err = v.console.Open(); err != nil {
		return err
	}
	defer v.session.Close()
	v.ctx, v.leave = context.WithCancelCause(ctx)
	v.tape.Output = v.session.Output()
	v.tape.OnUnreachable = v.session.Drop
	v.tape.Log = func(ctx context.Context, from node.LogStart, follow bool) (io.ReadCloser, error) {
		return v.client.Log(ctx, v.pod, from, follow)
	}
	set := v.command.Settings()
	set.Stdout = v.tape
	defer v.marking.Wait()
	defer v.leave(nil)
	v.marking.Go(func() {
		defer v.cleanup.OnPanic()
		v.hear(v.ctx)
	})
	err = v.session.Run(v.ctx, v, set)
	var lost *stream.LostError
	if errors.As(err, &lost) { // conclude asks for the pod, and no key is read any more: Ctrl-C must send a signal again
		v.console.Tidy()
		v.session.Close()
	}
	return v.conclude(v.ctx, err)
}

// Dial implements stream.Driver. If the server refuses to attach, the shell may have
// ended.
func (v *visit) Dial(ctx context.Context) (*stream.Conn, error) {
	conn, err := v.driver.Dial(ctx)
	var refused *stream.HandshakeError
	if errors.As(err, &refused) && v.ask(ctx) {
		return nil, &stream.NotReadyError{Err: errShellEnded, Final: true}
	}
	return conn, err
}

// Opened implements stream.Driver.
func (v *visit) Opened(ctx context.Context, conn *stream.Conn) error {
	if err := v.arrive(v.ctx); err != nil { // before the terminal is raw: Ctrl-C must send a signal, since no key is read yet
		return err
	}
	v.outage = v.connected
	v.connected = true
	v.join(v.ctx)
	return v.driver.Opened(ctx, conn)
}

// arrive makes the pod need heartbeats again, on the first connection to a
// shell that was left running.
func (v *visit) arrive(ctx context.Context) error {
	if !v.keep.Load() {
		return nil
	}
	if err := v.reach(ctx, node.ReattachCommand()); err != nil {
		v.notice.WarnAlways("pod %s may end by itself after %v unless a client attaches to it", v.pod.Name, v.options.HeartbeatTimeout)
		return err
	}
	v.keep.Store(false)
	return nil
}

// reachLimit bounds each exec of reach, for which the user waits.
var reachLimit = 10 * time.Second

// reach runs a command of kshell itself in the pod, for at most reachLimit.
func (v *visit) reach(ctx context.Context, command []string) error {
	err := within(ctx, reachLimit, func(ctx context.Context) error { return v.command.RunInternal(ctx, command) })
	if err != nil {
		return fmt.Errorf("cannot reach the shell in pod %s: %w", v.pod.Name, err)
	}
	return nil
}

const (
	// A mark is printed every marks, until one has come through the new
	// connection or joining has passed. markLimit bounds the exec of each.
	marks     = 700 * time.Millisecond
	markLimit = 4 * time.Second
	joining   = 15 * time.Second
)

// join makes the tape find its position in the output of a new connection:
// marks are printed into the shell's terminal until one has come through.
func (v *visit) join(ctx context.Context) {
	id := rand.Text()
	v.tape.ExpectMark(ctx, id)
	joined, again := v.tape.Joined(), v.again
	v.again = true
	ctx, v.unmark = context.WithTimeout(ctx, joining)
	v.marking.Go(func() {
		defer v.cleanup.OnPanic()
		var err error
		for i := 0; ; i++ {
			mark := node.MarkCommand(v.id, fmt.Sprintf("%s-%d", id, i))
			err = within(ctx, markLimit, func(ctx context.Context) error { return v.command.RunInternal(ctx, mark) })
			if refusedForGood(err) {
				break
			}
			timer := time.NewTimer(marks)
			select {
			case <-joined:
				timer.Stop()
				if again {
					v.session.Redraw()
				}
				return
			case <-ctx.Done():
				timer.Stop()
				if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
					return // the connection is lost, or all is over
				}
			case <-timer.C:
				continue
			}
			break
		}
		v.notice.Detail("no mark can be made in what the shell prints: %v", err)
		v.tape.SkipMark(id)
		v.session.Redraw()
		v.notice.Note("output from before this connection may be missing; press Enter for a prompt")
	})
}

// refusedForGood reports whether the server will always refuse this.
func refusedForGood(err error) bool {
	var refused *stream.HandshakeError
	return errors.As(err, &refused) && refused.Permanent()
}

// Detach implements interactive.Detacher: it makes the pod run without heartbeats, and
// ends the session.
func (v *visit) Detach() {
	v.marking.Go(func() {
		defer v.cleanup.OnPanic()
		switch err := v.reach(v.ctx, node.DetachCommand()); {
		case err == nil:
			v.leave(errDetached)
		case v.ctx.Err() == nil: // the session has not ended in between
			v.notice.WarnAlways("cannot leave the shell running: %s", err)
		}
	})
}

// errShellEnded means that the shell ended before kshell could attach to it
// again.
var errShellEnded = errors.New("the shell has ended")

// reasonAfter is how long the pod's status may take to show how the shell ended.
func reasonAfter() time.Duration { return cmp.Or(limits.Reason, 2*time.Second) }

const (
	// askOnce bounds one look at the pod; after the end of its stream its status may be late by settles.
	askOnce = 3 * time.Second
	settles = 10 * time.Second
	looks   = 100 * time.Millisecond
)

// hear watches the pod for the end of the shell: another kshell that is
// attached may delete the pod as soon as the shell has ended.
func (v *visit) hear(ctx context.Context) {
	defer close(v.heard)
	_ = v.pods.WatchPod(ctx, v.command.Target().Found, func(p *corev1.Pod, deleted bool) bool { // errors: ask requests the pod as well
		if p == nil || p.UID != v.pod.UID {
			return deleted || p != nil
		}
		end, over := node.TerminationOf(p)
		if over {
			v.heard <- end
		}
		return over || deleted
	})
}

// lastWords returns how the shell ended if the watch saw it, for a pod that is
// deleted or being deleted; else nil.
func (v *visit) lastWords(ctx context.Context) *node.Termination {
	select {
	case end, ok := <-v.heard:
		if ok {
			return &end
		}
	case <-time.After(reasonAfter()):
	case <-ctx.Done():
	}
	return nil
}

// othersWithin bounds the question whether other clients are attached, up to
// half of the time left: the rest is for the deletion of the pod. Clients that
// do not become known in time do not count.
const othersWithin = 2 * time.Second

// othersStay removes this kshell from the clients of the shell, and reports
// whether others are attached.
func (v *visit) othersStay(ctx context.Context) bool {
	limit := othersWithin
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if v.command.RunInternal(ctx, node.LeaveCommand(v.id)) != nil {
		return false
	}
	if !v.keep.Load() {
		v.notice.Note("pod %s kept: other clients are attached", v.pod.Name)
	}
	return true
}

// ask requests the pod and reports whether the shell has ended.
func (v *visit) ask(ctx context.Context) bool {
	if v.ended.Load() {
		return true
	}
	asking, cancel := context.WithTimeout(ctx, askOnce)
	defer cancel()
	now, err := v.client.Get(asking, v.pod.Namespace, v.pod.Name)
	switch {
	case apiclient.IsNotFound(err, "pods", v.pod.Name) || err == nil && now.UID != v.pod.UID:
		v.gone, v.end = true, v.lastWords(ctx)
	case err != nil:
		return false
	default:
		end, over := node.TerminationOf(now)
		if over {
			v.end = &end
		}
		if over && end.Deleted {
			v.end = cmp.Or(v.lastWords(ctx), v.end)
		}
	}
	v.ended.Store(v.gone || v.end != nil)
	return v.ended.Load()
}

// Ended implements stream.Driver. It finds out what the end of a stream means: the server reports Success on
// attach however the shell ended, and also if the shell still runs.
func (v *visit) Ended(ctx context.Context, err error) error {
	v.unmark()
	var lost *stream.LostError
	var remote *stream.RemoteError
	if errors.As(err, &lost) || err != nil && !errors.As(err, &remote) {
		return err
	}
	if err == nil {
		err = errors.New("the server ended the stream while the shell was running")
	}
	for begin := time.Now(); ; time.Sleep(looks) {
		switch {
		case v.ask(ctx):
			return nil // see conclude
		case time.Since(begin) > settles, ctx.Err() != nil:
			return &stream.LostError{Err: err}
		}
	}
}

// conclude returns the result of the visit after its session has ended, and
// prints why.
func (v *visit) conclude(ctx context.Context, err error) error {
	v.unmark()
	var lost *stream.LostError
	if errors.As(err, &lost) && ctx.Err() == nil {
		v.ask(ctx)
	}
	switch {
	case errors.Is(context.Cause(ctx), errDetached):
		v.keep.Store(true)
		v.console.Tidy()
		v.notice.NoteAlways("%s", v.leftRunning())
		return nil
	case v.end != nil:
		reading, cancel := context.WithTimeout(ctx, askOnce)
		defer cancel()
		if missing := v.tape.WriteRest(reading); missing != nil && ctx.Err() == nil && !v.gone && !v.end.Deleted {
			v.notice.WarnAlways("%s: the end of the output may be missing", missing)
		}
		return v.verdict()
	case v.gone:
		v.console.Tidy()
		return errDeleted
	}
	v.console.Tidy()
	return outcome.ContextCause(ctx, err)
}

// errDeleted means that the pod was deleted while the shell was running.
var errDeleted = errors.New("the pod of the shell was deleted")

// verdict returns the exit code of the shell as an error, and prints why the
// shell ended if it did not exit by itself.
func (v *visit) verdict() error {
	if v.end.Deleted {
		v.console.Tidy()
		return errDeleted
	}
	switch v.end.Reason {
	case "":
	case "DeadlineExceeded":
		v.console.Tidy()
		v.notice.NoteAlways("the shell's time is over (--ttl %v)", v.options.TTL)
	default:
		v.console.Tidy()
		v.notice.NoteAlways("the shell was ended: %s", v.end.Reason)
	}
	if v.end.Code == 0 {
		return nil
	}
	return &stream.ExitError{Code: v.end.Code}
}
