package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/apiclient"
	"kshell/internal/node"
	"kshell/internal/outcome"
	"kshell/internal/pod"
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
	job       *job
	driver    *driver // attaches
	keys      *keys
	ctx       context.Context // of run
	tape      *node.Replay
	received  counter           // counts the output of the stream, on its way to the tape
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
func (p *nodePod) attend(ctx context.Context, at place, back bool) (*job, error) {
	plan := *p.plan.exec
	j, err := p.newJob(p.cfg, &plan, at)
	if err != nil {
		return nil, err
	}
	j.told.mode = modePlain
	client, pods, err := p.clientsBeside(j)
	if err != nil {
		return nil, err
	}
	v := &visit{
		nodePod: p, client: client, pods: pods, id: rand.Text(), job: j, tape: &node.Replay{Output: &j.screen}, unmark: func() {}, again: back,
		heard: make(chan node.Termination, 1),
	}
	v.tape.OnGap = v.missing
	sign := node.HeartbeatCommand(false, v.id)
	if back {
		if err := v.reach(ctx, sign); err != nil {
			return j, err
		}
		v.tape.StartAtTail(historyLines)
	}
	p.here.Store(v)
	p.notice.Note("what the shell prints is written to the container's log on the node (--no-log: it is not)")
	defer j.alive(ctx, p.options.HeartbeatTimeout, sign)()
	return j, v.run(ctx)
}

// clientsBeside returns clients for requests during a session of j.
func (p *nodePod) clientsBeside(j *job) (*node.Client, *pod.Client, error) {
	if j.creds == nil {
		return p.client, p.pods, nil
	}
	client, err := node.NewClient(j.beside)
	if err != nil {
		return nil, nil, err
	}
	client.OnIgnoredSelector = p.selectorsIgnored
	pods, err := j.podClient(j.beside)
	if err != nil {
		return nil, nil, err
	}
	pods.RunWatch = j.events
	return client, pods, nil
}

// missing warns that output printed before the connection may not be shown.
func (v *visit) missing(err error) {
	if v.outage {
		v.notice.WarnAlways("%s: output from the outage may be missing", err)
		return
	}
	v.notice.WarnAlways("%s: earlier output may be missing", err)
}

// attachRequest is attach's, of the API server (core/v1 PodAttachOptions), for the pod's terminal.
func (at place) attachRequest(offer []string) stream.Request {
	return stream.Request{Path: pod.AttachPath(at.namespace, at.pod), Protocols: offer, Query: url.Values{
		"container": {at.container}, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"false"}, "tty": {"true"},
	}}
}

// run attaches the local terminal until the shell ends or kshell leaves it.
func (v *visit) run(ctx context.Context) error {
	j := v.job
	ctx, leaving := context.WithCancelCause(ctx)
	defer leaving(nil)
	k, err := j.newKeys(leaving)
	if err != nil {
		return err
	}
	defer k.close()
	k.gap.same, k.lines.SameShell, k.lines.OnWithheld = true, true, k.withheld
	k.detach = func() { v.detach(ctx, leaving) }
	v.keys, v.ctx = k, ctx
	v.driver = &driver{job: j, ctx: ctx, request: func(at place) stream.Request { return at.attachRequest(j.plan.offer) }}
	v.tape.Output, v.received.Writer = tee{v.tape.Output, k.lines.Wrote}, v.tape
	v.tape.OnUnreachable = func(err error) { k.session.Drop(err) }
	v.tape.Log = func(ctx context.Context, from node.LogStart, follow bool) (io.ReadCloser, error) {
		return v.client.Log(ctx, v.pod, from, follow)
	}
	set := j.settings()
	set.Stdout = &v.received
	defer v.marking.Wait()
	defer leaving(nil)
	v.marking.Go(func() {
		defer j.cleanup.OnPanic()
		v.hear(ctx)
	})
	j.interrupting(leaving, &v.received)
	err = k.gap.givenUp(k.run(ctx, v, set))
	var lost *stream.LostError
	if errors.As(err, &lost) { // conclude asks for the pod, and no key is read any more: Ctrl-C must send a signal again
		j.tidy()
		k.close()
	}
	return v.conclude(ctx, err)
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
	v.join(v.ctx, v.keys.session)
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
	err := within(ctx, reachLimit, func(ctx context.Context) error { return v.job.quietly(ctx, v.job.at, command) })
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
func (v *visit) join(ctx context.Context, s *session) {
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
			err = within(ctx, markLimit, func(ctx context.Context) error { return v.job.quietly(ctx, v.job.at, mark) })
			if refusedForGood(err) {
				break
			}
			timer := time.NewTimer(marks)
			select {
			case <-joined:
				timer.Stop()
				if again {
					s.Redraw()
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
		s.Redraw()
		v.notice.Note("output from before this connection may be missing; press Enter for a prompt")
	})
}

// refusedForGood reports whether the server will always refuse this.
func refusedForGood(err error) bool {
	var refused *stream.HandshakeError
	return errors.As(err, &refused) && refused.Permanent()
}

// detach makes the pod run without heartbeats, and ends the session.
func (v *visit) detach(ctx context.Context, leave context.CancelCauseFunc) {
	v.marking.Go(func() {
		defer v.cleanup.OnPanic()
		switch err := v.reach(ctx, node.DetachCommand()); {
		case err == nil:
			leave(errDetached)
		case ctx.Err() == nil: // the session has not ended in between
			v.notice.WarnAlways("cannot leave the shell running: %s", err)
		}
	})
}

// errShellEnded means that the shell ended before kshell could attach to it
// again.
var errShellEnded = errors.New("the shell has ended")

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
	_ = v.pods.WatchPod(ctx, v.job.at.seen, func(p *corev1.Pod, deleted bool) bool { // errors: ask requests the pod as well
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
	case <-time.After(reasonAfter):
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
	if v.job.quietly(ctx, v.job.at, node.LeaveCommand(v.id)) != nil {
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
	j := v.job
	var lost *stream.LostError
	if errors.As(err, &lost) && ctx.Err() == nil {
		v.ask(ctx)
	}
	switch {
	case errors.Is(context.Cause(ctx), errDetached):
		v.keep.Store(true)
		j.tidy()
		j.notice.NoteAlways("%s", v.leftRunning())
		return nil
	case v.end != nil:
		reading, cancel := context.WithTimeout(ctx, askOnce)
		defer cancel()
		if missing := v.tape.WriteRest(reading); missing != nil && ctx.Err() == nil && !v.gone && !v.end.Deleted {
			v.notice.WarnAlways("%s: the end of the output may be missing", missing)
		}
		return v.verdict()
	case v.gone:
		j.tidy()
		return errDeleted
	}
	j.tidy()
	return outcome.ContextCause(ctx, err)
}

// errDeleted means that the pod was deleted while the shell was running.
var errDeleted = errors.New("the pod of the shell was deleted")

// verdict returns the exit code of the shell as an error, and prints why the
// shell ended if it did not exit by itself.
func (v *visit) verdict() error {
	if v.end.Deleted {
		v.job.tidy()
		return errDeleted
	}
	switch v.end.Reason {
	case "":
	case "DeadlineExceeded":
		v.job.tidy()
		v.job.notice.NoteAlways("the shell's time is over (--ttl %v)", v.options.TTL)
	default:
		v.job.tidy()
		v.job.notice.NoteAlways("the shell was ended: %s", v.end.Reason)
	}
	if v.end.Code == 0 {
		return nil
	}
	return &stream.ExitError{Code: v.end.Code}
}
