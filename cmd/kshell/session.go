package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/stream"
	"kshell/internal/terminal"
)

// job is one command in one container, and its outcome.
type job struct {
	*app
	plan   *execPlan
	at     place
	cfg    *rest.Config
	dialer *stream.Transport
	aside  *stream.Transport // for commands that kshell runs during the session
	beside *rest.Config      // for requests during the session
	creds  *background       // credentials of aside and beside; nil if they are dialer and cfg
	input  *terminal.Input   // nil without -i
	in     source
	out    counter
	err    counter
	told   report
	screen terminal.Screen // the output of the remote on a terminal
	image  imageTrial      // used if the command runs in many pods

	offPath atomic.Bool // the container's PATH has no sh: kshell's scripts are run by /bin/sh
	noSh    bool        // there is no /bin/sh either
	killed  bool        // the container has ended and killed the command; the user was told

	unknown sync.Once // tells the user, once, that it is unknown whether the command still runs

	clearing sync.WaitGroup // goroutines that end the shells of earlier connections
	moving   sync.Mutex     // protects at, except for reads by the session's goroutine
}

// where returns the place, for goroutines other than the session's.
func (j *job) where() place {
	j.moving.Lock()
	defer j.moving.Unlock()
	return j.at
}

// move changes the place.
func (j *job) move(to place) {
	j.moving.Lock()
	defer j.moving.Unlock()
	j.at = to
}

// counter is a writer that counts the bytes written. Any goroutine may read the count.
type counter struct {
	io.Writer
	bytes atomic.Int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c *counter) count() int64 { return c.bytes.Load() }

// source is the command's input. It counts the bytes read. One goroutine reads it;
// any goroutine may call the other methods.
type source struct {
	io.Reader
	bytes atomic.Int64

	interrupted func() // called when Ctrl-C is typed; may be nil

	mu   sync.Mutex
	last time.Time // the last Read that returned data
	tail []byte    // the last bytes read, at most longestTail
}

// keyInterrupt is Ctrl-C.
const keyInterrupt = 0x03

// longestTail is the maximum size of source.tail, in bytes: enough for the word that
// ends a shell.
const longestTail = 32

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.bytes.Add(int64(n))
	if s.interrupted != nil && bytes.IndexByte(p[:n], keyInterrupt) >= 0 {
		s.interrupted()
	}
	if n > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last = time.Now()
		s.tail = append(s.tail, p[max(0, n-longestTail):n]...)
		s.tail = s.tail[max(0, len(s.tail)-longestTail):]
	}
	return n, err
}

func (s *source) count() int64 { return s.bytes.Load() }

// newJob returns a job that runs the plan's command in a place and writes its output
// to the local stdout and stderr.
func (a *app) newJob(cfg *rest.Config, p *execPlan, at place) (*job, error) {
	dialer, err := stream.NewTransport(cfg, p.narrowed.asked, a.notice.Detail)
	if err != nil {
		return nil, err
	}
	j := &job{
		app: a, plan: p, at: at, cfg: cfg, dialer: dialer,
		out: counter{Writer: a.Out}, err: counter{Writer: &optional{Writer: a.Err}},
	}
	j.screen.Writer = &j.out
	j.aside, j.beside = dialer, cfg
	if cfg.ExecProvider != nil && (p.tty || p.stdin) {
		if err := j.apart(); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// apart sets up the clients for requests during the session, so that they do not run
// the credential plugin on the terminal. It may run the plugin itself, because the
// session has not begun.
func (j *job) apart() (err error) {
	if j.creds, j.beside, err = newBackground(j.cfg); err != nil {
		return err
	}
	if err := j.creds.hold(); err != nil {
		return err
	}
	j.aside, err = stream.NewTransport(j.beside, j.plan.narrowed.asked, j.notice.Detail)
	return err
}

// run runs the command.
func (j *job) run(ctx context.Context) error {
	if j.plan.tty {
		return j.onTerminal(ctx)
	}
	if j.plan.stdin {
		input, err := terminal.NewInput(j.In)
		if err != nil {
			return fmt.Errorf("stdin: %w", err)
		}
		j.input, j.in.Reader = input, input
	}
	if j.plan.exact.mode != exactNever {
		plainly, err := j.exactly(ctx)
		if !plainly {
			return err
		}
	}
	return j.plainly(ctx)
}

// plainly runs the command without the script. Its outcome is what the server
// reports.
func (j *job) plainly(ctx context.Context) error {
	offer, err := j.plan.ending()
	if err != nil {
		return err
	}
	j.told.mode = modePlain
	d := &driver{job: j, request: func(at place) stream.Request { return at.request(j.plan.command, j.plan.stdin, false, offer) }}
	set := j.settings()
	if j.input != nil {
		set.Stdin, set.CheckStuck = cancelableReader{&j.in, j.input}, true
	}
	return explain(outcome.ContextCause(ctx, j.unattended(ctx, d, set)), j.plan, j.at, false)
}

// unattended runs a session without a terminal.
func (j *job) unattended(ctx context.Context, d *driver, set stream.Settings) error {
	d.ctx, d.watch = ctx, j.guarded()
	defer d.watch.end()
	set.Reconnect, set.GiveUpAfter = j.plan.live.policy(stream.ReconnectNever), j.plan.live.reconnectTimeout
	o := &attempts{job: j}
	return j.newSession(d, o.observe, set).Run(ctx)
}

// settings returns the settings of the job's sessions, without stdin.
func (j *job) settings() stream.Settings {
	return stream.Settings{
		LinkSettings: stream.LinkSettings{
			Reconnect: stream.ReconnectNever, // after the 101 a new connection is a new process
			Backoff:   retries, ConnectTimeout: j.plan.live.connectTimeout,
		},
		Stdout: &j.out, Stderr: &j.err,
		Keepalive: j.plan.live.keepalive, IdleKeepalive: !j.plan.live.noIdleKeepalive,
		StartTimeout:  cmp.Or(j.cfg.Timeout, apiclient.DefaultTimeout),
		UnlimitedDial: j.prompts(), // the time in which a plugin asks the user for credentials is not limited
	}
}

// optional is a stderr whose write errors are ignored: a command continues even if
// its stderr cannot be written, and there is no stream on which to report that.
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

// explain adds a hint to a session's error. told means that the remote ends the
// command when it detects the loss of the connection.
func explain(err error, p *execPlan, at place, told bool) error {
	var refused *stream.HandshakeError
	var lost *stream.LostError
	var remote *stream.RemoteError
	var fate *fateError
	var given *outcome.GaveUpError
	var unstarted *stream.StartError
	switch {
	case errors.As(err, &given):
		return err
	case errors.As(err, &unstarted):
		return explainStart(unstarted, at)
	case errors.As(err, &refused):
		return explainRefusal(refused, p, at)
	case errors.As(err, &fate) && p.tty:
		return notice.WithMessage(err, fate.sentence)
	case errors.As(err, &fate):
		return notice.WithMessage(err, fate.sentence+" before the command reported a result")
	case errors.Is(err, errUnreported) && told:
		return fmt.Errorf("%w; it is ended as soon as its node detects the loss", err)
	case errors.Is(err, errUnreported):
		return fmt.Errorf("%w; it may still be running", err)
	case errors.As(err, &lost) && told:
		return fmt.Errorf("%w before the command reported a result; it is ended as soon as its node detects the loss", err)
	case errors.As(err, &lost) && !p.tty:
		return notice.WithHint(
			fmt.Errorf("%w before the command reported a result; it may still be running", err),
			fmt.Sprintf("%s -n %s %s -- ps", p.path, at.namespace, at.pod),
		)
	case errors.As(err, &remote) && remote.NotRunning():
		return notice.WithHint(err, fmt.Sprintf("the container is not running: kubectl get pod -n %s %s", at.namespace, at.pod))
	case errors.As(err, &remote) && remote.Start == stream.StartNotFound && len(p.command) > 0:
		short := notice.WithMessage(err, fmt.Sprintf("the container has no command %s: %s", strconv.Quote(p.command[0]), remote.Cause()))
		if strings.Contains(p.command[0], "/") {
			return notice.WithHint(short, "the path is looked up in the container's own files")
		}
		return notice.WithHint(short, "the command is looked up in the container's own PATH; an image without a shell has no sh either")
	case errors.As(err, &remote) && remote.Start == stream.StartNotExecutable && len(p.command) > 0:
		return notice.WithMessage(err, fmt.Sprintf("the container could not run %s: %s", strconv.Quote(p.command[0]), remote.Cause()))
	}
	return err
}

// explainRefusal adds a hint to a refused handshake.
func explainRefusal(e *stream.HandshakeError, p *execPlan, at place) error {
	if apiclient.StatusNotFound(e.Status, "pods", at.pod) {
		return notice.WithHint(e, "kubectl get pods -n "+at.namespace+" shows those there are")
	}
	switch e.Refusal() {
	case stream.RefusalNoSubprotocol:
		return notice.WithHint(
			fmt.Errorf("%w: it may know none of the subprotocols offered (%s)", e, strings.Join(p.offer, ", ")),
			subprotocolHint(p),
		)
	case stream.RefusalNoRight, stream.RefusalForbidden:
		return notice.WithHint(e, rightsHint(at))
	case stream.RefusalNoReason:
		return notice.WithHint(fmt.Errorf("%w no reason given; the verb create on pods/exec is probably lacking", e), rightsHint(at))
	case stream.RefusalBadRequest:
		if at.container == "" {
			return notice.WithHint(e, "name a container with -c")
		}
	case stream.RefusalUnauthorized:
		return notice.WithHint(e, "log in again, or try another --context or --user")
	case stream.RefusalNotFound, stream.RefusalUnknownPath:
		return notice.WithHint(
			fmt.Errorf("%w; it does not answer like a Kubernetes API server", e),
			"check `server:` in the kubeconfig (kubectl config view --minify), or --server",
		)
	case stream.RefusalTooLong:
		return notice.WithHint(e, "the command is part of the request line, which a gateway limits: pass long arguments on stdin, with -i")
	case stream.RefusalWebPage, stream.RefusalRedirect:
		return notice.WithHint(e, "look at --server and the proxy settings: a login page or a gateway may stand before the API server")
	case stream.RefusalNotRunning:
		return notice.WithHint(e, fmt.Sprintf("the container is not running: kubectl get pod -n %s %s", at.namespace, at.pod))
	}
	return e
}

func rightsHint(at place) string {
	return fmt.Sprintf("exec needs the verbs get and create on pods/exec in namespace %s: kubectl auth can-i create pods --subresource=exec -n %s",
		at.namespace, at.namespace)
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
