package remote

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

// Target is the container in which a command runs. Targets may be copied, and
// compared with ==.
type Target struct {
	Namespace, Pod, Container string     // Container is empty if the server chooses it
	Found                     *pod.Found // nil if the pod is not known; see found

	lookup *lookup // set if the pod is requested while the command is started
}

// found returns the container as the server has described it; nil if the user
// is not allowed to get the pod, or if the lookup has not ended.
func (t Target) found() *pod.Found {
	if t.lookup != nil {
		return t.lookup.answer()
	}
	return t.Found
}

// await is like found, but waits until the lookup has ended or ctx ends.
func (t Target) await(ctx context.Context) *pod.Found {
	if t.lookup != nil {
		return t.lookup.await(ctx)
	}
	return t.Found
}

// UID returns the UID of the pod; empty if it is not known.
func (t Target) UID() string {
	found := t.found()
	if found == nil {
		return ""
	}
	return string(found.Pod.UID)
}

// Node returns the name of the pod's node; empty if it is not known.
func (t Target) Node() string {
	found := t.found()
	if found == nil {
		return ""
	}
	return found.Pod.Spec.NodeName
}

// os returns the operating system that the pod's spec requires; empty if the
// spec requires none, or if the pod is not known.
func (t Target) os() corev1.OSName {
	found := t.found()
	if found == nil {
		return ""
	}
	return pod.OS(found.Pod)
}

// image returns the ID of the container's image, or the name of the image if
// the runtime reports no ID; empty if neither is known.
func (t Target) image() string {
	found := t.found()
	if found == nil {
		return ""
	}
	s := found.Pod.Status
	for _, c := range slices.Concat(s.ContainerStatuses, s.InitContainerStatuses, s.EphemeralContainerStatuses) {
		if c.Name == t.Container {
			if c.ImageID != "" {
				return c.ImageID
			}
			return c.Image
		}
	}
	return ""
}

// Exec returns the request to run a command in the container (core/v1
// PodExecOptions).
func (t Target) Exec(command []string, stdin, tty bool, protocols []string) stream.Request {
	query := url.Values{
		"command": command,
		"stdin":   {strconv.FormatBool(stdin)},
		"stdout":  {"true"},
		"stderr":  {strconv.FormatBool(!tty)}, // a tty has one output
		"tty":     {strconv.FormatBool(tty)},
	}
	if t.Container != "" {
		query.Set("container", t.Container)
	}
	return stream.Request{Path: pod.ExecPath(t.Namespace, t.Pod), Query: query, Protocols: protocols}
}

// Attach returns the request to attach to the terminal of the container's main
// process (core/v1 PodAttachOptions).
func (t Target) Attach(protocols []string) stream.Request {
	return stream.Request{Path: pod.AttachPath(t.Namespace, t.Pod), Protocols: protocols, Query: url.Values{
		"container": {t.Container}, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"false"}, "tty": {"true"},
	}}
}

// Resolve finds the container of r and waits until the container runs, at most
// for the duration wait. If r names a pod that the user is not allowed to get,
// the Target is that pod, because running a command in it may still be allowed.
//
// At the same time, Resolve opens the connection of the command. The caller must
// call Cluster.Close when the command has ended.
func Resolve(ctx context.Context, env Env, c *Cluster, r pod.Request, wait time.Duration) (Target, error) {
	ctx = onConnecting(ctx, c.Transport().Prepare)
	found, err := waitForContainer(ctx, env, c.Pods(), r, wait)
	var forbidden *pod.GetForbiddenError
	switch {
	case errors.As(err, &forbidden):
		env.Notice.Detail("pod %s was not checked: %s", r.Target.Name, forbidden)
		return Target{Namespace: r.Namespace, Pod: r.Target.Name, Container: r.Container}, nil
	case err != nil:
		return Target{}, ExplainForbidden(ctx, env, c, err)
	}
	noteFound(env, found)
	return Target{Namespace: r.Namespace, Pod: found.Pod.Name, Container: found.Container, Found: found}, nil
}

// noteFound tells the user which container was found.
func noteFound(env Env, found *pod.Found) {
	for _, note := range found.Notes {
		env.Notice.Note("%s", note)
	}
	env.Notice.Detail("pod %s, container %s, node %s", found.Pod.Name, found.Container, found.Pod.Spec.NodeName)
}

// waitForContainer finds the container and waits until the container runs, at
// most for limit. The wait begins with the first answer that the container does
// not run, so the time to connect to the server does not count.
// waitForContainer prints why the container does not run yet: on a terminal in
// one line, which is removed at the end of the wait.
func waitForContainer(
	ctx context.Context, env Env, client *pod.Client, r pod.Request, limit time.Duration,
) (*pod.Found, error) {
	if limit == 0 {
		return client.Find(ctx, r)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var timer *time.Timer
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	var progress *notice.Progress // nil until the first reason: slowTransport may show a line before
	defer func() {
		if progress != nil {
			progress.End()
		}
	}()
	offered := ""
	found, err := client.Wait(ctx, r, func(why pod.Reason) {
		if progress == nil {
			progress = env.Notice.Progress()
		}
		switch {
		case progress.InPlace(): // without the name of the flag, because the line is short
			progress.Update(fmt.Sprintf("waiting (up to %v): %s", limit, why.Text))
		case timer == nil:
			progress.Update(fmt.Sprintf("waiting (up to %v, see --pod-running-timeout): %s", limit, why.Text))
		default:
			progress.Update("waiting: " + why.Text)
		}
		if timer == nil {
			timer = time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
		}
		if why.Hint != offered && why.Hint != "" && progress.InPlace() { // without a terminal, the user cannot react
			env.Notice.Hint("%s", why.Hint)
		}
		offered = why.Hint
	})
	return found, WaitLimit(limit, err)
}

// WaitLimit returns err. If err is a *pod.WaitError because the deadline
// passed, WaitLimit sets err.Waited to limit, because the measured duration is
// slightly longer.
func WaitLimit(limit time.Duration, err error) error {
	var timedOut *pod.WaitError
	if errors.As(err, &timedOut) && errors.Is(timedOut.Err, context.DeadlineExceeded) {
		timedOut.Waited = limit
	}
	return err
}
