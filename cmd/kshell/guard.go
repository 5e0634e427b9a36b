package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"kshell/internal/kubeconfig"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/script"
)

const confirmFlag = "confirm-context"

// The values of the setting guard.
const (
	guardNever = "never"
	guardAsk   = "ask"
)

// optionalText is a pflag.Value that distinguishes an empty value from a missing
// flag.
type optionalText struct {
	text  string
	given bool
}

// String implements pflag.Value.
func (o *optionalText) String() string { return o.text }

// Set implements pflag.Value.
func (o *optionalText) Set(text string) error {
	o.text, o.given = text, true
	return nil
}

// Type implements pflag.Value.
func (o *optionalText) Type() string { return "string" }

// addConfirmFlag adds the flag --confirm-context.
func (a *app) addConfirmFlag(flags *pflag.FlagSet) {
	flags.Var(&a.confirmed, confirmFlag,
		"run the command only if this is the name of the context; replaces the question of the setting guard")
}

// recordNotice returns the text of the setting record-notice, or "".
func (a *app) recordNotice() string {
	switch text := a.settings.Record.Text; text {
	case "", "false":
		return ""
	case "true":
		return "sessions in this context are recorded"
	default:
		return text
	}
}

// confirmTarget is what the user must name to confirm a command. Its kind is
// "context", "cluster" or "server".
type confirmTarget struct{ kind, name string }

// confirmTargetOf returns the cluster of a Headlamp server, the server if no
// context is selected or if --server or --cluster replaces the server of the
// context, and otherwise the context.
func (a *app) confirmTargetOf(conn *kubeconfig.Connection) confirmTarget {
	switch {
	case a.headlampCluster != "":
		return confirmTarget{"cluster", a.headlampCluster}
	case conn.Context == "" || !a.headlamp.used && (a.kube.Server != "" || a.kube.Cluster != ""):
		return confirmTarget{"server", hostOf(conn.Config)}
	}
	return confirmTarget{"context", conn.Context}
}

// hostOf returns the host and port in the address of the API server.
func hostOf(cfg *rest.Config) string {
	address, err := url.Parse(serverOf(cfg))
	if err != nil {
		return "" // cannot happen: kubeconfig has checked it
	}
	return address.Host
}

// confirmContext asks the user to type the name of the context, if the setting
// guard requires that and --confirm-context is not given. action describes for
// the user what will be done. Callers must call confirmContext before they run a
// command in a pod, create an object or delete one. If the name is wrong, or
// there is no terminal, confirmContext returns a usage error.
func (a *app) confirmContext(ctx context.Context, conn *kubeconfig.Connection, action string) error {
	mode, err := a.settings.Guard.OneOf(guardNever, guardAsk)
	if err != nil {
		return err
	}
	target := a.confirmTargetOf(conn)
	hint := fmt.Sprintf("--%s %s", confirmFlag, script.Quote(target.name))
	switch {
	case a.confirmed.given && a.confirmed.text != target.name:
		return outcome.NewUsageError(
			fmt.Sprintf("nothing was done: --%s is %q, and the %s is %q",
				confirmFlag, a.confirmed.text, target.kind, target.name),
			"check --context and the kubeconfig, or type "+hint)
	case a.confirmed.given || mode == guardNever:
		return nil
	}
	return a.askContext(ctx, target, fmt.Sprintf("%s %s: %s", target.kind, target.name, action), hint)
}

// askContext asks the user to type the name of target. hint contains the flag that
// replaces the question.
func (a *app) askContext(ctx context.Context, target confirmTarget, description, hint string) error {
	d, err := a.openDialog()
	if err != nil {
		return outcome.NewUsageError(fmt.Sprintf(
			"the %s must be confirmed (setting %s from %s), and there is no terminal for the question",
			target.kind, a.settings.Guard.Key, a.settings.Guard.Source), hint)
	}
	defer d.close()
	d.notice.NoteAlways("%s", description)
	answer, err := d.ask(ctx, fmt.Sprintf("type the name of the %s to continue:", target.kind))
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case answer != target.name:
		return outcome.NewUsageError(
			fmt.Sprintf("nothing was done: %q is not the name of the %s", answer, target.kind),
			fmt.Sprintf("type %s when you are asked", target.name))
	}
	return nil
}

// maxAction is the maximum length of a command in a question, in characters.
const maxAction = 100

// action describes the plan, for confirmContext.
func (p *execPlan) action(namespace string) string {
	what := "a shell"
	switch {
	case p.attach != nil:
		what = "a session that is already running"
	case len(p.command) > 0:
		what = "the command " + shortCommand(p.command)
	}
	where := p.target.String()
	switch {
	case p.target == (pod.Target{}):
		where = "a pod"
	case p.target.Kind != "pod":
		where = "a pod of " + where
	}
	if p.container != "" {
		where += ", container " + p.container
	}
	return fmt.Sprintf("%s in %s, namespace %s", what, where, namespace)
}

// shortCommand returns the beginning of a command line.
func shortCommand(command []string) string {
	line := []rune(script.QuoteAll(command))
	if len(line) > maxAction {
		return string(line[:maxAction]) + "…"
	}
	return string(line)
}

// nodeAction describes the plan for a node, for confirmContext.
func (p *nodePlan) action() string {
	what := "a shell"
	if command := p.exec.command; len(command) > 0 {
		what = "the command " + shortCommand(command)
	}
	return what + " on node " + p.node
}

// manyAction describes a command "in" n pods, or "on" n nodes, for
// confirmContext.
func manyAction(command []string, preposition string, n int, noun string) string {
	return fmt.Sprintf("the command %s %s %s", shortCommand(command), preposition, counted(n, noun))
}

// counted returns "1 pod", or "2 pods".
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// endAction describes the plan to end a session, for confirmContext.
func (p *sessionsPlan) endAction(namespace string) string {
	return "end session " + p.end + p.where(namespace)
}
