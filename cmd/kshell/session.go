package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"kshell/internal/stream"
	"kshell/internal/terminal"
)

// session runs the plan's command at a place, on the local streams.
func (a *app) session(ctx context.Context, cfg *rest.Config, p *execPlan, at place) error {
	dialer, err := stream.NewDialer(cfg)
	if err != nil {
		return err
	}
	request := p.request(at)
	s := &stream.Session{
		Link: stream.Link{
			Dial:      func(ctx context.Context) (*stream.Conn, error) { return dialer.Dial(ctx, request) },
			Reconnect: stream.ReconnectNever, // after the 101 a new socket is a new process
		},
		Stdout: a.Out, Stderr: &optional{Writer: a.Err},
	}
	opened := 0
	s.OnOpen = func(c *stream.Conn) error {
		if opened++; opened > 1 {
			a.notice.say("connected again: this is a new shell")
		}
		a.notice.detail("connected to %s by %s", dialer.Server(), c.Protocol())
		return nil
	}
	if p.stdin {
		input, err := terminal.NewInput(a.In)
		if err != nil {
			return fmt.Errorf("stdin: %w", err)
		}
		s.Stdin, s.CancelStdin = input, input.Cancel
	}
	if p.tty {
		leave, err := a.interactive(s)
		if err != nil {
			return err
		}
		defer leave()
	}
	return explain(ending(ctx, s.Run(ctx)), p, at)
}

// interactive makes s a session on the local terminal, raw from the first socket on, that is taken up again when it breaks. The returned
// function gives the terminal back.
func (a *app) interactive(s *stream.Session) (leave func(), err error) {
	t, err := terminal.Open(a.In, a.Out)
	if err != nil {
		return nil, err
	}
	var stopResize func()
	s.Resized, stopResize = t.Resized()
	s.Size = func() (width, height uint16, ok bool) {
		size, err := t.Size()
		return size.Width, size.Height, err == nil
	}
	s.Interactive, s.Reconnect = true, stream.ReconnectAlways
	screen := &screen{Writer: a.Out}
	s.Stdout = screen
	restore := func() {}
	connected := s.OnOpen
	s.OnOpen = func(c *stream.Conn) error {
		undo, err := t.Raw()
		if err != nil {
			return err
		}
		restore = undo
		a.lastResort.set(undo)
		a.notice.setScreen(screen)
		return connected(c)
	}
	var lost error
	s.OnFail = func(err error) { lost = err }
	s.OnWait = func(delay time.Duration) {
		a.notice.warn("%s; trying again in %v (Enter: now, Ctrl-D: give up)", lost, delay)
	}
	return func() {
		stopResize()
		restore()
		a.notice.setCooked()
	}, nil
}

// optional is a stderr that may be lost: a command is not ended because nobody hears its complaints, and there is nowhere left to say so.
type optional struct {
	io.Writer
	lost bool
}

// Write implements io.Writer; it never fails.
func (o *optional) Write(p []byte) (int, error) {
	if !o.lost {
		_, err := o.Writer.Write(p)
		o.lost = err != nil
	}
	return len(p), nil
}

// ending prefers the signal that ended the context to whatever was broken off by it.
func ending(ctx context.Context, err error) error {
	var s signalError
	if err != nil && errors.As(context.Cause(ctx), &s) {
		return s
	}
	return err
}

// explain adds to a session's error what the user can do about it.
func explain(err error, p *execPlan, at place) error {
	var refused *stream.HandshakeError
	var lost *stream.LostError
	var remote *stream.RemoteError
	switch {
	case errors.As(err, &refused):
		return explainRefusal(refused, p, at)
	case errors.As(err, &lost) && !p.tty:
		return &hinted{
			fmt.Errorf("%w before the command reported a result; it may still be running", err),
			fmt.Sprintf("kshell exec -n %s %s -- ps", at.namespace, at.pod),
		}
	case errors.As(err, &remote) && strings.Contains(remote.Message, "container not found"):
		return &hinted{err, fmt.Sprintf("the container is not running: kubectl get pod -n %s %s", at.namespace, at.pod)}
	case errors.As(err, &remote) && remote.Start == stream.StartNotFound:
		short := &shortError{err, fmt.Sprintf("the container has no command %s: %s", quoted(p.command[0]), essence(remote.Message))}
		if strings.Contains(p.command[0], "/") {
			return &hinted{short, "the path is looked up in the container's own files"}
		}
		return &hinted{short, "the command is looked up in the container's own PATH; an image without a shell has no sh either"}
	case errors.As(err, &remote) && remote.Start == stream.StartNotExecutable:
		return &shortError{err, fmt.Sprintf("the container could not run %s: %s", quoted(p.command[0]), essence(remote.Message))}
	}
	return err
}

// shortError says an error in fewer words than its own.
type shortError struct {
	err   error
	words string
}

func (e *shortError) Error() string { return e.words }
func (e *shortError) Unwrap() error { return e.err }

// essence is the end of the container runtime's long story, such as `exec: "x": executable file not found in $PATH`.
func essence(story string) string {
	for _, before := range []string{"unable to start container process: ", "OCI runtime exec failed: "} {
		if i := strings.LastIndex(story, before); i >= 0 {
			story = story[i+len(before):]
			break
		}
	}
	return strings.TrimSuffix(strings.TrimSpace(story), ": unknown")
}

func explainRefusal(e *stream.HandshakeError, p *execPlan, at place) error {
	switch {
	case e.StatusCode == http.StatusForbidden && e.Empty():
		return &hinted{
			fmt.Errorf("%w: it may know none of the subprotocols offered (%s)", e, strings.Join(p.offer, ", ")),
			subprotocolHint(p),
		}
	case e.StatusCode == http.StatusForbidden:
		return &hinted{
			fmt.Errorf("%w%s", e, missingReason(e)),
			fmt.Sprintf("exec needs the verbs get and create on pods/exec in namespace %s: kubectl auth can-i create pods --subresource=exec -n %s",
				at.namespace, at.namespace),
		}
	case e.StatusCode == http.StatusBadRequest && at.container == "":
		return &hinted{e, "name a container with -c"}
	case e.StatusCode == http.StatusNotFound:
		return &hinted{e, "kubectl get pods -n " + at.namespace + " shows those there are"}
	case e.StatusCode == http.StatusUnauthorized:
		return &hinted{e, "log in again, or try another --context or --user"}
	case e.Page || e.Location != "":
		return &hinted{e, "look at --server and the proxy settings: a login page or a gateway may stand before the API server"}
	case strings.Contains(e.Text, "container not found"):
		return &hinted{e, fmt.Sprintf("the container is not running: kubectl get pod -n %s %s", at.namespace, at.pod)}
	}
	return e
}

// missingReason fills in what a server of 1.35 or later leaves out when only create is lacking: its message ends in "is forbidden: ".
func missingReason(e *stream.HandshakeError) string {
	if e.Status != nil && strings.HasSuffix(strings.TrimSpace(e.Status.Message), "is forbidden:") {
		return " no reason given; the verb create on pods/exec is probably lacking"
	}
	return ""
}

func subprotocolHint(p *execPlan) string {
	switch {
	case p.narrowed.ends:
		return "input that ends needs " + stream.V5 + " (Kubernetes 1.30): without -i, or with the data as arguments, older servers do"
	case p.narrowed.asked:
		return "leave --subprotocol out"
	default:
		return "is this the API server itself? a proxy before it may not pass WebSockets"
	}
}
