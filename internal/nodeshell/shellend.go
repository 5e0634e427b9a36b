package nodeshell

import (
	"cmp"
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/apiclient"
	"kshell/internal/node"
	"kshell/internal/pod"
)

// shellEnd finds out whether and how the shell of a pod has ended. Except for
// watch, its methods are called by the goroutine of the session.
type shellEnd struct {
	pod   *Pod
	nodes *node.Client // for requests during the session
	pods  *pod.Client

	reported chan node.Termination // watch sends how the shell ended, and closes the channel

	termination *node.Termination // nil if it is not known
	podGone     bool              // the pod no longer exists
}

const (
	// checkTimeout is the time limit of one request for the pod.
	checkTimeout = 3 * time.Second
	// statusDelay is how long the pod's status may lag behind the end of the
	// stream. Until then, the pod is requested every checkInterval.
	statusDelay   = 10 * time.Second
	checkInterval = 100 * time.Millisecond
)

// watch watches the pod until the shell has ended, and sends how it ended to
// e.reported. The watch is needed because a request after the end of the shell
// could be too late: another attached client may delete the pod as soon as the
// shell has ended. Errors of the watch are ignored, because check requests the
// pod as well.
func (e *shellEnd) watch(ctx context.Context) {
	defer close(e.reported)
	_ = e.pods.WatchPod(ctx, e.pod.found, func(p *corev1.Pod, deleted bool) bool {
		if p == nil || p.UID != e.pod.object.UID {
			return deleted || p != nil
		}
		t, ended := node.TerminationOf(p)
		if ended {
			e.reported <- t
		}
		return ended || deleted
	})
}

// fromWatch returns how the shell ended according to watch, or nil if watch has
// not seen the end. fromWatch is called when the pod has been deleted or is
// being deleted.
func (e *shellEnd) fromWatch(ctx context.Context) *node.Termination {
	select {
	case t, ok := <-e.reported:
		if ok {
			return &t
		}
	case <-time.After(e.pod.manager.env.Limits.Reason):
	case <-ctx.Done():
	}
	return nil
}

// check requests the pod and reports whether the shell has ended.
func (e *shellEnd) check(ctx context.Context) bool {
	p := e.pod
	if p.ended.Load() {
		return true
	}
	limited, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	object, err := e.nodes.Get(limited, p.object.Namespace, p.object.Name)
	switch {
	case apiclient.IsNotFound(err, "pods", p.object.Name) || err == nil && object.UID != p.object.UID:
		e.podGone, e.termination = true, e.fromWatch(ctx)
	case err != nil:
		return false
	default:
		t, ended := node.TerminationOf(object)
		if ended {
			e.termination = &t
		}
		if ended && t.Deleted { // the watch may have seen how the shell ended before the deletion
			e.termination = cmp.Or(e.fromWatch(ctx), e.termination)
		}
	}
	p.ended.Store(e.podGone || e.termination != nil)
	return p.ended.Load()
}

// wait waits until check reports that the shell has ended. It returns false
// after statusDelay, or when ctx ends.
func (e *shellEnd) wait(ctx context.Context) bool {
	for begin := time.Now(); ; {
		switch {
		case e.check(ctx):
			return true
		case time.Since(begin) > statusDelay:
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(checkInterval):
		}
	}
}

// clientsTimeout is the maximum time limit of othersAttached. The time limit is
// at most half of the time left, so that the pod can still be deleted.
const clientsTimeout = 2 * time.Second

// othersAttached removes this kshell from the clients of the shell, and reports
// whether others are attached. It returns false if the answer does not come
// within the time limit.
func (s *attachSession) othersAttached(ctx context.Context) bool {
	limit := clientsTimeout
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if s.command.RunInternal(ctx, node.LeaveCommand(s.id)) != nil {
		return false
	}
	if !s.pod.keep.Load() {
		s.pod.notice.Note("other clients are attached to this shell: pod %s keeps running for them", s.pod.object.Name)
	}
	return true
}
