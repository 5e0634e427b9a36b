package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"kshell/internal/pod"
	"kshell/internal/stream"
	"kshell/internal/terminal"
)

// execFlags are exec's own.
type execFlags struct {
	container    string
	stdin, tty   bool
	subprotocols []string
}

func newExec(a *app) *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:   "exec [-it] (POD | TYPE/NAME) [-c CONTAINER] [-- COMMAND [ARG...]]",
		Short: "Open a shell or run a command in a pod's container",
		Long: `Open a shell or run a command in a container of a pod.

Without a command, and on a terminal, it opens a shell. TYPE is pod, deployment, replicaset, statefulset, daemonset, job,
replicationcontroller or service, or kubectl's short name for it; of its pods the best one is taken.`,
		Example: `  kshell exec web                              a shell in pod web
  kshell exec -it web -c app -- bash           another shell, in container app
  kshell exec deploy/web -- ps                 a command in a pod of deployment web
  kshell exec -i web -- sh -c 'cat >f' <f      a command with its input from here`,
		ValidArgsFunction:     cobra.NoFileCompletions,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := planExec(cmd, f, args, a.terminals())
			if err != nil {
				return err
			}
			return a.exec(cmd.Context(), plan)
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if named := cmd.Flags().Args(); len(named) > 1 { // the flag is that of a command without dashes
			return &usageError{err.Error(), dashes(cmd, named[0], named[1])}
		}
		return usage(cmd, err.Error())
	})
	flags := cmd.Flags()
	flags.StringVarP(&f.container, "container", "c", "", "container name; default: the pod's default container, else its first")
	flags.BoolVarP(&f.stdin, "stdin", "i", false, "pass stdin to the container")
	flags.BoolVarP(&f.tty, "tty", "t", false, "stdin is a terminal (needs -i)")
	flags.StringSliceVar(&f.subprotocols, "subprotocol", nil,
		"offer only these WebSocket subprotocols (comma separated): "+strings.Join(stream.Protocols(), ", "))
	_ = cmd.RegisterFlagCompletionFunc("subprotocol", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return stream.Protocols(), cobra.ShellCompDirectiveNoFileComp // the flag is there: no error
	})
	return cmd
}

// terminals says which of the local streams are terminals.
type terminals struct{ in, out bool }

func (a *app) terminals() terminals {
	return terminals{in: terminal.IsTerminal(a.In), out: terminal.IsTerminal(a.Out)}
}

// execPlan is what an exec command line asks for.
type execPlan struct {
	target     pod.Target
	container  string
	command    []string
	stdin, tty bool
	offer      []string // subprotocols
	narrowed   narrowed // why the offer is not all there is
	warnings   []string
}

// narrowed is why an offer of subprotocols is short.
type narrowed struct{ asked, ends bool }

// shell is run where no command was named: bash where there is one.
var shell = []string{"sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh"}

// planExec makes the plan of a command line.
func planExec(cmd *cobra.Command, f execFlags, args []string, local terminals) (*execPlan, error) {
	named, command := args, []string(nil)
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		named, command = args[:dash], args[dash:]
	}
	switch {
	case len(named) == 0:
		return nil, usage(cmd, "which pod? none was named")
	case len(named) > 1:
		return nil, &usageError{"a command is separated from the pod by --", dashes(cmd, named[0], named[1])}
	}
	target, err := pod.ParseTarget(named[0])
	if err != nil {
		return nil, err
	}
	p := &execPlan{target: target, container: f.container, command: command, stdin: f.stdin, tty: f.tty}
	if len(command) == 0 {
		if !local.in || !local.out {
			return nil, &usageError{
				"no command was named, and a shell needs a terminal at both stdin and stdout",
				fmt.Sprintf("%s %s -- COMMAND", cmd.CommandPath(), named[0]),
			}
		}
		p.command, p.stdin, p.tty = shell, true, true
	}
	p.settleTTY(local)
	p.narrowed = narrowed{asked: len(f.subprotocols) > 0, ends: p.stdin && !local.in}
	p.offer, err = offer(f.subprotocols, p.narrowed.ends)
	return p, err
}

// dashes is the hint for a command that does not stand behind --.
func dashes(cmd *cobra.Command, pod, command string) string {
	return fmt.Sprintf("put -- between the two, and all flags of kshell before it: %s [FLAGS] %s -- %s ...", cmd.CommandPath(), pod, command)
}

// settleTTY gives up a tty that cannot be had, as kubectl does, and says so.
func (p *execPlan) settleTTY(local terminals) {
	switch {
	case !p.tty:
	case !p.stdin:
		p.tty = false
		p.warnings = append(p.warnings, "-t needs -i: running without a tty")
	case !local.in:
		p.tty = false
		p.warnings = append(p.warnings, "stdin is not a terminal: running without a tty")
	}
}

// offer is what to offer of the subprotocols, narrowed to those wanted, and to those that can say that stdin has ended if it will.
func offer(wanted []string, ends bool) ([]string, error) {
	names := stream.Protocols()
	if len(wanted) > 0 {
		for _, name := range wanted {
			if !slices.Contains(names, name) {
				return nil, &usageError{"unknown subprotocol " + quoted(name), "one of " + strings.Join(names, ", ")}
			}
		}
		names = wanted
	}
	if !ends {
		return names, nil
	}
	closing := stream.HalfClosing(names)
	if len(closing) == 0 {
		return nil, &hinted{
			fmt.Errorf("%s cannot tell the command that its input has ended: it would wait for ever", strings.Join(names, ", ")),
			"offer " + stream.V5 + " too, or leave out -i",
		}
	}
	return closing, nil
}

// exec carries a plan out, and returns when the command has ended and the terminal is as it was.
func (a *app) exec(ctx context.Context, p *execPlan) error {
	for _, w := range p.warnings {
		a.notice.warn("%s", w)
	}
	kube, err := a.connect()
	if err != nil {
		return err
	}
	found, err := a.find(ctx, kube.Config, pod.Request{Namespace: kube.Namespace, Target: p.target, Container: p.container})
	if err != nil {
		return ending(ctx, err)
	}
	return a.session(ctx, kube.Config, p, found)
}

// place is where a command will run.
type place struct{ namespace, pod, container string }

// find resolves the target. A bare pod that may not be looked at is taken at its name: running something in it may be allowed.
func (a *app) find(ctx context.Context, cfg *rest.Config, r pod.Request) (place, error) {
	client, err := pod.NewClient(cfg)
	if err != nil {
		return place{}, err
	}
	found, err := client.Find(ctx, r)
	var unseen *pod.UnseenPodError
	switch {
	case errors.As(err, &unseen):
		a.notice.detail("pod %s was not checked: %s", r.Target.Name, unseen)
		return place{r.Namespace, r.Target.Name, r.Container}, nil
	case err != nil:
		return place{}, err
	}
	for _, note := range found.Notes {
		a.notice.say("%s", note)
	}
	a.notice.detail("pod %s, container %s, node %s", found.Pod.Name, found.Container, found.Pod.Spec.NodeName)
	return place{r.Namespace, found.Pod.Name, found.Container}, nil
}

// request is exec's, of the API server (core/v1 PodExecOptions).
func (p *execPlan) request(at place) stream.Request {
	query := url.Values{
		"command": p.command,
		"stdin":   {strconv.FormatBool(p.stdin)},
		"stdout":  {"true"},
		"stderr":  {strconv.FormatBool(!p.tty)}, // a tty has one output
		"tty":     {strconv.FormatBool(p.tty)},
	}
	if at.container != "" {
		query.Set("container", at.container)
	}
	return stream.Request{Path: pod.ExecPath(at.namespace, at.pod), Query: query, Protocols: p.offer}
}
