package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"kshell/internal/exact"
	"kshell/internal/stream"
)

// driver is the stream.Driver of the sessions of a job. Except for CheckStuck, the
// goroutine of the session uses it.
type driver struct {
	job     *job
	request func(place) stream.Request // what is asked of the server
	watch   *guard                     // nil if the pod is not watched
	run     *exact.Run                 // the script of exact mode, or nil
	shell   *exact.Shell               // the script of a shell on a terminal, or nil

	ctx    context.Context // of the caller of Run
	opened place           // the place of the last connection
}

// Dial implements stream.Driver.
func (d *driver) Dial(ctx context.Context) (*stream.Conn, error) {
	if err := d.watch.next(ctx); err != nil {
		return nil, err
	}
	conn, err := d.job.dialer.Dial(ctx, d.request(d.job.at))
	if err == nil && d.job.creds != nil {
		_ = d.job.creds.hold() // the credentials that the server has just accepted
	}
	return conn, d.watch.dialed(err)
}

// Opened implements stream.Driver.
func (d *driver) Opened(ctx context.Context, conn *stream.Conn) error {
	j := d.job
	if d.run != nil {
		d.run.Reset() // forget an earlier connection (--reconnect=always)
	}
	if d.shell != nil {
		d.hangUpOld()
	}
	d.opened = j.at
	d.watch.begin(ctx, conn)
	j.told.protocol, j.told.connected = conn.Protocol(), time.Now()
	j.notice.Detail("connected to %s by %s", j.dialer.Server(), conn.Protocol())
	return nil
}

// Ended implements stream.Driver.
func (d *driver) Ended(ctx context.Context, err error) error {
	if err == nil && d.shell != nil && !d.job.in.leaves() && d.shellRuns(ctx) {
		err = &stream.LostError{Err: errNotEnded}
	}
	return d.watch.judge(ctx, err)
}

// CheckStuck implements stream.StuckChecker.
func (d *driver) CheckStuck(ctx context.Context) error { return d.job.stuck(ctx) }

// errNotEnded means that the server reports success for a shell that still runs, or
// whose node does not answer.
var errNotEnded = errors.New("the server claims that the shell has ended, and it has not")

// shellRuns reports whether the shell still runs in its container. It also returns
// true if its node does not answer, and if ctx is canceled before the answer.
//
// When a node's kubelet dies, API servers that translate the protocol themselves
// (Kubernetes 1.30 to 1.35) report success for the sessions that were cut off. So if a
// shell succeeds and the user has typed nothing that ends it, Ended checks whether it
// still runs. (The outcome of a command without a tty is known from exact mode.)
func (d *driver) shellRuns(ctx context.Context) bool {
	probe := d.shell.AliveCommand()
	if probe == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	err := d.job.quietly(ctx, d.job.at, probe)
	return err == nil || ctx.Err() != nil || unanswered(err)
}

// hangUpOld ends the shell of an earlier connection, if there was one, while the
// new one starts. It does nothing if the new shell is in another container, where
// the old process ID is meaningless.
func (d *driver) hangUpOld() {
	j, old, at := d.job, d.shell.HangUpCommand(), d.opened
	d.shell.Reset()
	if old != nil && !j.plan.exact.keep && at == j.at {
		j.clearing.Go(func() {
			defer j.cleanup.OnPanic()
			j.sweep(d.ctx, at, old)
		})
	}
}

// cancelableReader is a reader whose Read can be canceled.
type cancelableReader struct {
	io.Reader
	stream.Canceler
}

// leaves reports whether the user has just typed what ends a shell: Ctrl-D, exit or
// logout.
func (s *source) leaves() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := bytes.HasSuffix(s.tail, []byte{0x04}) || bytes.Contains(s.tail, []byte("exit")) || bytes.Contains(s.tail, []byte("logout"))
	return asked && time.Since(s.last) < unprovoked
}

// unprovoked is the time after which the end of a shell is no longer attributed to
// what the user typed last.
const unprovoked = 2 * time.Second
