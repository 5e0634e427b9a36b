package remote

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"kshell/internal/apiclient"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/script"
	"kshell/internal/stream"
)

// explain adds a hint to the error of a session. endsOnLoss means that the
// container's node ends the command when the node detects the loss of the
// connection.
func (c *Command) explain(err error, endsOnLoss bool) error {
	return explain(err, &c.options, c.Target(), endsOnLoss)
}

// Explain adds a hint to the error of a request that is not part of a command, if
// a server has refused it.
func Explain(err error) error { return explain(err, &Options{}, Target{}, false) }

func explain(err error, o *Options, t Target, endsOnLoss bool) error {
	var refused *stream.HandshakeError
	var lost *stream.LostError
	var remote *stream.RemoteError
	var ended *containerEndedError
	var gaveUp *outcome.GaveUpError
	var notStarted *stream.StartError
	switch {
	case errors.As(err, &gaveUp):
		return err
	case errors.As(err, &notStarted):
		return explainStart(notStarted, t)
	case (errors.As(err, &remote) || errors.As(err, &refused)) && strings.Contains(err.Error(), "invalid UTF-8"):
		return explainNotUTF8(err, o)
	case errors.As(err, &refused):
		return explainRefusal(refused, o, t)
	case errors.As(err, &ended) && o.TTY:
		return notice.WithMessage(err, ended.reason)
	case errors.As(err, &ended):
		return notice.WithMessage(err, ended.reason+" before the command reported a result")
	case errors.As(err, &lost) && !o.TTY:
		return explainLost(err, o, t, endsOnLoss)
	case errors.As(err, &remote) && remote.NotRunning():
		return notice.WithHint(err, notRunningHint(t))
	case errors.As(err, &remote) && remote.Start == stream.StartNotFound && len(o.Command) > 0:
		return notice.WithHint(
			notice.WithMessage(err,
				fmt.Sprintf("the container has no command %s: %s", strconv.Quote(o.Command[0]), remote.Cause())),
			notFoundHint(o, t),
		)
	case errors.As(err, &remote) && remote.Start == stream.StartNotExecutable && len(o.Command) > 0:
		return notice.WithMessage(err,
			fmt.Sprintf("the container could not run %s: %s", strconv.Quote(o.Command[0]), remote.Cause()))
	}
	return err
}

// explainNotUTF8 returns err with a message that names the argument or the
// variable that is not UTF-8. Servers do not start a command with such an
// argument or variable.
func explainNotUTF8(err error, o *Options) error {
	for i, arg := range o.Command {
		if !utf8.ValidString(arg) {
			return notice.WithMessage(err, fmt.Sprintf(
				"the server does not accept argument %d of the command, %s, because it is not UTF-8", i, strconv.Quote(arg)))
		}
	}
	for _, variable := range o.Env {
		if name, value, _ := strings.Cut(variable, "="); !utf8.ValidString(value) {
			return notice.WithMessage(err, fmt.Sprintf(
				"the server does not accept the value of %s (--env), %s, because it is not UTF-8", name, strconv.Quote(value)))
		}
	}
	return err
}

// explainLost returns err, the loss of the connection of a command without a
// tty, with the message that the result of the command is unknown. endsOnLoss
// is as in explain.
func explainLost(err error, o *Options, t Target, endsOnLoss bool) error {
	state := "may still be running"
	if endsOnLoss {
		state = "is stopped as soon as the node detects the loss"
	}
	message := fmt.Sprintf("the connection broke before the command ended, so its result is unknown; "+
		"it %s (%s)", state, err)
	if errors.Is(err, errUnreported) {
		message = fmt.Sprintf("%s, so the result is unknown; the command %s", errUnreported, state)
	}
	err = notice.WithMessage(err, message)
	if endsOnLoss || o.Program == "" {
		return err
	}
	return notice.WithHint(err,
		fmt.Sprintf("`%s` lists the processes of the container", commandLine(o.Program, t.Pod, o.Pod.Container, "ps")))
}

// commandLine returns a command line that a user can type in a POSIX shell.
// container may be empty.
func commandLine(program, target, container string, command ...string) string {
	words := []string{target}
	if container != "" {
		words = append(words, "-c", container)
	}
	return program + " " + script.QuoteAll(slices.Concat(words, []string{"--"}, command))
}

// explainRefusal adds a hint to a refused handshake.
func explainRefusal(e *stream.HandshakeError, o *Options, t Target) error {
	if e.Err != nil {
		return e // Err has the hint
	}
	if t.Pod != "" && apiclient.StatusNotFound(e.Status, "pods", t.Pod) {
		return notice.WithHint(e, "`kubectl get pods -n "+script.Quote(t.Namespace)+"` lists the pods")
	}
	switch e.Refusal() {
	case stream.RefusalNoSubprotocol:
		if len(o.Protocols) == 0 {
			return notice.WithHint(e, subprotocolHint(o))
		}
		return notice.WithHint(
			fmt.Errorf("%w: it may support none of the subprotocols offered (%s)", e, strings.Join(o.Protocols, ", ")),
			subprotocolHint(o),
		)
	case stream.RefusalNoRight:
		if t.Pod == "" {
			break
		}
		if hint := answerHint(e); hint != "" {
			return notice.WithHint(e, hint)
		}
		return notice.WithHint(e, rightsHint(t))
	case stream.RefusalNoReason:
		if t.Pod == "" {
			break
		}
		return notice.WithHint(
			fmt.Errorf("%w no reason given; the verb create on pods/exec is probably missing", e), rightsHint(t))
	case stream.RefusalBadRequest:
		if t.Container == "" && t.Pod != "" {
			return notice.WithHint(e, "name a container with -c")
		}
	case stream.RefusalUnauthorized:
		return notice.WithHint(e, "log in again, or try another --context or --user")
	case stream.RefusalNotFound, stream.RefusalUnknownPath:
		return notice.WithHint(
			fmt.Errorf("%w; it does not answer like a Kubernetes API server", e),
			"check `server:` in the kubeconfig (kubectl config view --minify), --server or --headlamp",
		)
	case stream.RefusalTooLong:
		return explainTooLong(e, o)
	case stream.RefusalNotRunning:
		return notice.WithHint(e, notRunningHint(t))
	case stream.RefusalUpgradeStripped, stream.RefusalUpgradeIgnored:
		return notice.WithHint(e, upgradeHint)
	}
	if hint := answerHint(e); hint != "" {
		return notice.WithHint(e, hint)
	}
	return e
}

// answerHint returns the hint of apiclient.AnswerHint for a refused handshake.
func answerHint(e *stream.HandshakeError) string {
	if e.Status != nil {
		return apiclient.AnswerHint(e.StatusCode, true, e.Status.Message)
	}
	return apiclient.AnswerHint(e.StatusCode, false, e.Text)
}

// upgradeHint is the hint for a handshake that reached the server without the
// header Upgrade.
const upgradeHint = "a proxy in front of the API server removes the header Upgrade; " +
	"for nginx, add these two lines to its location (and proxy_http_version 1.1, if nginx is old):\n" +
	"proxy_set_header Upgrade $http_upgrade;\n" +
	`proxy_set_header Connection "upgrade";`

// explainTooLong returns e, the refusal of a request because of its length,
// with a clearer message and a hint.
func explainTooLong(e *stream.HandshakeError, o *Options) error {
	if len(o.Command) == 0 {
		return notice.WithMessage(e, fmt.Sprintf(
			"the request line or the header is too long for the server or a gateway in front of it (%d)", e.StatusCode))
	}
	return notice.WithHint(
		notice.WithMessage(e, fmt.Sprintf(
			"the command line is too long for the server or a gateway in front of it (%d)", e.StatusCode)),
		"pass long arguments on stdin, with -i or --stdin-file",
	)
}

func notRunningHint(t Target) string {
	return fmt.Sprintf("the container is not running: type `kubectl describe pod %s -n %s` to see why",
		t.Pod, script.Quote(t.Namespace))
}

func rightsHint(t Target) string {
	return fmt.Sprintf("exec needs the verbs get and create on pods/exec in namespace %s: "+
		"type `kubectl auth can-i create pods --subresource=exec -n %s`", t.Namespace, script.Quote(t.Namespace))
}

func subprotocolHint(o *Options) string {
	switch {
	case o.InputEnds:
		return "stdin that ends needs " + stream.V5 +
			" (Kubernetes 1.30); for an older server, omit -i or pass the data as arguments"
	case o.ProtocolsChosen:
		return "omit --subprotocol"
	default:
		return "check that the server is the API server itself: a proxy in front of it may not support WebSockets"
	}
}

// explainStart adds a hint to a *stream.StartError.
func explainStart(e *stream.StartError, t Target) error {
	const hint = "--request-timeout allows more time"
	node := t.Node()
	if node == "" {
		return notice.WithHint(fmt.Errorf("%w; the command may still be started later", e), hint)
	}
	return notice.WithHint(
		notice.WithMessage(e, fmt.Sprintf(
			"node %s has not started the command within %v; the command may still be started later", node, e.Within)),
		fmt.Sprintf("`kubectl get node %s` shows whether it is ready; %s", node, hint),
	)
}
