package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/kubeconfig"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

// pickFlags is the flag --pick.
type pickFlags struct{ pick bool }

func (f *pickFlags) addTo(flags *pflag.FlagSet) {
	flags.BoolVar(&f.pick, "pick", false,
		"choose from a list if TYPE/NAME or -l matches several pods; default on a terminal if no pod is specified")
}

// pickPlan describes the list from which the user chooses a pod.
type pickPlan struct {
	selector string
	always   bool // show the list even if only one pod matches
}

// planPick returns the plan of the list, or nil if no list is shown. args are
// the arguments that select a pod. The parameter local describes kshell's own
// stdin and stdout, even if --stdin-file gives the command another stdin.
func (f *pickFlags) planPick(cmd *cobra.Command, many *manyFlags, args []string, local terminals) (*pickPlan, error) {
	selector := strings.TrimSpace(many.selector)
	switch {
	case many.all && f.pick:
		return nil, usage(cmd, "--pick and --all cannot be used together")
	case many.all || !f.pick && (len(args) > 0 || selector != ""):
		return nil, nil
	case !local.in || !local.out:
		message := "no pod is specified"
		if f.pick {
			message = "--pick needs a terminal at stdin and stdout"
		}
		path := cmd.CommandPath()
		hint := "type `" + path + " (POD | TYPE/NAME) -- COMMAND`; on a terminal, `" + path + "` lists the pods"
		return nil, outcome.NewUsageError(message, hint)
	case len(args) > 0 && selector != "":
		return nil, usage(cmd, "-l and "+args[0]+" cannot be used together")
	}
	return &pickPlan{selector: selector, always: !f.pick}, nil
}

// pick lets the user choose the pod and the container, and sets them in p.
func (a *app) pick(ctx context.Context, kube *kubeconfig.Connection, c *remote.Cluster, p *execPlan) error {
	running, skipped, err := c.Pods().List(ctx, pod.Request{
		Namespace: kube.Namespace, Target: p.target, Selector: p.pick.selector, Container: p.container,
	})
	var forbidden *pod.GetForbiddenError
	switch {
	case errors.As(err, &forbidden):
		return nil // the user is not allowed to get the specified pod, so there is no list to show
	case err != nil:
		return outcome.ContextCause(ctx, remote.ExplainForbidden(ctx, a.env(), c, err))
	}
	pods, list := podMenu(kube.Namespace, running, skipped, time.Now())
	if len(pods) == 1 && !p.pick.always {
		p.target = pod.Target{Kind: "pod", Name: pods[0].Name}
		return nil
	}
	i, err := a.choose(ctx, list)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	chosen := pods[i]
	p.target = pod.Target{Kind: "pod", Name: chosen.Name}
	names, list := containerMenu(chosen)
	switch {
	case p.container != "":
	case len(names) == 1:
		p.container = names[0]
	case len(names) > 1:
		if i, err = a.choose(ctx, list); err != nil {
			return outcome.ContextCause(ctx, err)
		}
		p.container = names[i]
	}
	note := "you chose pod " + chosen.Name
	if p.container != "" {
		note += ", container " + p.container
	}
	a.notice.Note("%s", note)
	return nil
}
