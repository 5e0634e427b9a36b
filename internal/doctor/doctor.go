// Package doctor checks whether kshell can work: its configuration, the network,
// the login, the user's rights, WebSocket connections to the server, and a
// container.
//
// It does not know flags or terminals. It prints nothing: the caller gets a
// Result for each check.
//
// Invariants:
//   - Without a target, no command is run in a container. With a target, the
//     commands are `true` and the first part of the script that starts the
//     session agent, which changes nothing.
//   - Each check has a time limit, and ends when the context ends.
//   - A check that depends on one that failed is skipped.
//   - A Result contains no credentials. Its texts are cleaned by notice.Clean.
//   - The packages that return errors classify them: the messages, the hints and
//     the class of a refusal come from these packages.
//
// Files: doctor.go contains the list of the checks and runs them; the checks are in
// config.go, network.go, login.go, rights.go, limits.go, upgrade.go and
// container.go; text.go formats results.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"kshell/internal/apiclient"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// Status is the outcome of a check.
type Status string

// The values of Status.
const (
	OK      Status = "ok"
	Warning Status = "warning" // kshell works, but some features do not, or it will stop working soon
	Failed  Status = "failed"
	Skipped Status = "skipped" // the check was not made; the message contains the reason
)

// Result is the result of one check. Its JSON form is a line of -o json.
type Result struct {
	ID      string `json:"id"`
	Group   string `json:"group"`
	Status  Status `json:"status"`
	Message string `json:"message"`
	// Hint is what to do about a problem, in one or more lines.
	Hint string `json:"hint,omitempty"`
	// Refusal is the class of the answer of a server that refused a connection;
	// see stream.Refusal.
	Refusal string `json:"refusal,omitempty"`
	// Details are more facts, one per line.
	Details []string `json:"details,omitempty"`
	// Milliseconds is the duration of the check. The checks dns, tcp, proxy and
	// tls are parts of the same request.
	Milliseconds float64 `json:"durationMs"`
}

// defaultLimit is the default of Options.Limit.
const defaultLimit = 10 * time.Second

// check is one check.
type check struct {
	id, group string
	needs     []string      // the check is skipped if one of these failed or was skipped
	unless    string        // the check is skipped if this one failed; it may have been skipped
	limit     time.Duration // the time limit, if it is longer than Options.Limit
	run       func(context.Context, *diagnosis) finding
}

// finding is the result of a check before its texts are cleaned.
type finding struct {
	status        Status
	message, hint string
	refusal       stream.Refusal
	err           error // of a failure
	details       []string
	took          time.Duration // 0: the duration of the check
	omit          bool          // the check does not apply and is not reported; it counts as passed
}

// The groups of checks.
const (
	configuration = "configuration"
	network       = "network"
	login         = "login"
	rights        = "rights"
	connection    = "connection"
	container     = "container"
)

// contactLimit is the time limit of the check that makes the first request. It is
// longer than the time limit of the request itself.
const contactLimit = 2 * defaultLimit

// slowLimit is the time limit of a check that makes many requests.
const slowLimit = time.Minute

// checks returns all checks in their order.
func checks() []check {
	return []check{
		{id: "kubeconfig", group: configuration, run: checkKubeconfig},
		{id: "settings", group: configuration, needs: []string{"kubeconfig"}, run: checkSettings},
		{id: "context", group: configuration, needs: []string{"kubeconfig"}, run: checkContext},
		{id: "server", group: configuration, needs: []string{"settings"}, run: checkServer},
		{id: "user", group: configuration, needs: []string{"kubeconfig"}, run: checkUser},
		{id: "namespace", group: configuration, needs: []string{"settings"}, run: checkNamespace},

		{id: "dns", group: network, needs: []string{"server"}, limit: contactLimit, run: checkDNS},
		{id: "tcp", group: network, needs: []string{"dns"}, run: checkTCP},
		{id: "proxy", group: network, needs: []string{"tcp"}, run: checkProxy},
		{id: "tls", group: network, needs: []string{"proxy"}, run: checkTLS},
		{id: "headlamp", group: network, needs: []string{"tls"}, run: checkHeadlamp},
		{id: "version", group: network, needs: []string{"headlamp"}, run: checkVersion},

		{id: "credentials", group: login, needs: []string{"server"}, limit: pluginLimit, run: checkCredentials},
		{id: "identity", group: login, needs: []string{"version", "credentials"}, run: checkIdentity},

		{id: "rights-exec", group: rights, needs: []string{"identity"}, run: checkExecRights},
		{id: "rights-find", group: rights, needs: []string{"identity"}, run: checkFindRights},
		{id: "rights-resume", group: rights, needs: []string{"rights-exec"}, run: checkResumeRights},
		{id: "rights-node-shell", group: rights, needs: []string{"identity"}, run: checkNodeRights},

		{
			id: "round-trip", group: connection, needs: []string{"version", "credentials"}, unless: "identity",
			limit: slowLimit, run: checkRoundTrip,
		},
		{
			id: "request-line", group: connection, needs: []string{"version", "credentials"}, unless: "identity",
			limit: slowLimit, run: checkRequestLine,
		},
		{id: "websocket", group: connection, needs: []string{"identity"}, limit: execLimit, run: checkWebSocket},
		{id: "idle", group: connection, needs: []string{"websocket"}, run: checkIdle},

		{id: "agents", group: container, run: checkAgents},
		{id: "pod", group: container, needs: []string{"identity"}, run: checkPod},
		{id: "exec", group: container, needs: []string{"pod"}, unless: "rights-exec", limit: execLimit, run: checkExec},
		{id: "subprotocols", group: container, needs: []string{"exec"}, limit: execLimit, run: checkSubprotocols},
		{id: "exact", group: container, needs: []string{"exec"}, limit: execLimit, run: checkExact},
		{id: "resume", group: container, needs: []string{"exec"}, limit: execLimit, run: checkResume},
	}
}

// Run makes all checks, one after the other, and calls done with the result of
// each. It calls begin with the ID of each check before the check begins. Run
// returns the number of checks that failed. It returns early, with the context's
// cause, when the context ends, and with the error of a check that finds a mistake
// in the command line, such as flags that exclude each other.
func Run(ctx context.Context, o Options, begin func(id string), done func(Result)) (failed int, err error) {
	o.Limit = cmp.Or(o.Limit, defaultLimit)
	d := &diagnosis{Options: o}
	defer d.close()
	bad := map[string]Status{}
	for _, c := range checks() {
		begin(c.id)
		start := time.Now()
		f := d.make(ctx, c, bad)
		if ctx.Err() != nil {
			return failed, context.Cause(ctx)
		}
		if isUsage(c.id, f.err) {
			return failed, f.err
		}
		if f.status == Failed || f.status == Skipped {
			bad[c.id] = f.status
		}
		if f.omit {
			continue
		}
		if f.status == Failed {
			failed++
		}
		done(d.result(c, f, cmp.Or(f.took, time.Since(start))))
	}
	return failed, nil
}

// isUsage reports whether err, the error of the check id, is a mistake in the
// command line.
func isUsage(id string, err error) bool {
	var usage *outcome.UsageError
	return errors.As(err, &usage) || id == "kubeconfig" && err != nil && outcome.Classify(err).Cause == outcome.Usage
}

// make makes one check, or skips it because of checks in bad, which contains the
// checks that failed or were skipped.
func (d *diagnosis) make(ctx context.Context, c check, bad map[string]Status) finding {
	for _, id := range c.needs {
		switch bad[id] {
		case Failed:
			return skipped("%s has failed", id)
		case Skipped:
			return skipped("%s was skipped", id)
		}
	}
	if bad[c.unless] == Failed {
		return skipped("%s has failed", c.unless)
	}
	limit := max(c.limit, d.Limit)
	if c.id == "idle" {
		limit += d.Slow + time.Minute
	}
	cause := fmt.Errorf("the check has not ended within %v", limit)
	limited, cancel := context.WithTimeoutCause(ctx, limit, cause)
	defer cancel()
	return c.run(limited, d)
}

// result returns the result for f, with cleaned texts.
func (d *diagnosis) result(c check, f finding, took time.Duration) Result {
	r := Result{
		ID: c.id, Group: c.group, Status: f.status, Message: notice.Clean(f.message),
		Milliseconds: math.Round(float64(took)/float64(time.Millisecond)*10) / 10,
	}
	if f.refusal != stream.RefusalNone {
		r.Refusal = f.refusal.String()
	}
	var hints []string
	for line := range strings.Lines(f.hint) {
		hints = append(hints, notice.Clean(d.Hint(strings.TrimSpace(line))))
	}
	r.Hint = strings.Join(hints, "\n")
	for _, detail := range f.details {
		r.Details = append(r.Details, notice.Clean(detail))
	}
	return r
}

func passed(format string, args ...any) finding {
	return finding{status: OK, message: fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) finding {
	return finding{status: Skipped, message: fmt.Sprintf(format, args...)}
}

func warning(hint, format string, args ...any) finding {
	return finding{status: Warning, message: fmt.Sprintf(format, args...), hint: hint}
}

// failure returns the finding for an error, with the hint of the error. If the
// check exceeded its time limit, the message is the cause of ctx, which states the
// limit.
func failure(ctx context.Context, err error) finding {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
		err = cause
	}
	hint := notice.HintOf(err)
	if hint == "" {
		hint = apiclient.Hint(err)
	}
	return finding{
		status: Failed, message: apiclient.Plain(outcome.ContextCause(ctx, err)).Error(), hint: hint,
		refusal: stream.RefusalOf(err), err: err,
	}
}

// as returns f with another status.
func (f finding) as(s Status) finding {
	f.status = s
	return f
}

// with returns f with more details.
func (f finding) with(details ...string) finding {
	f.details = append(f.details, details...)
	return f
}
