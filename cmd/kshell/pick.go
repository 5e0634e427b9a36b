package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kshell/internal/kubeconfig"
	"kshell/internal/outcome"
	"kshell/internal/picker"
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
	menu, err := a.podsToPick(ctx, kube, c, p)
	var forbidden *pod.GetForbiddenError
	switch {
	case errors.As(err, &forbidden):
		return nil // the user is not allowed to get the specified pod, so there is no list to show
	case err != nil:
		return outcome.ContextCause(ctx, remote.ExplainForbidden(ctx, a.env(), c, err))
	}
	if len(menu.names) == 1 && !p.pick.always {
		p.target = pod.Target{Kind: "pod", Name: menu.names[0]}
		return nil
	}
	i, err := a.choose(ctx, menu.list)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	p.target = pod.Target{Kind: "pod", Name: menu.names[i]}
	if p.container == "" {
		chosen, err := menu.pod(ctx, i)
		if err == nil {
			p.container, err = a.pickContainer(ctx, chosen)
		}
		switch {
		case apierrors.IsForbidden(err): // the container is chosen later
		case err != nil:
			return outcome.ContextCause(ctx, err)
		}
	}
	note := "you chose pod " + p.target.Name
	if p.container != "" {
		note += ", container " + p.container
	}
	a.notice.Note("%s", note)
	return nil
}

// pickContainer lets the user choose a container of a pod that has several, and
// returns its name.
func (a *app) pickContainer(ctx context.Context, chosen *corev1.Pod) (string, error) {
	names, list := containerMenu(chosen)
	switch len(names) {
	case 0:
		return "", nil
	case 1:
		return names[0], nil
	}
	i, err := a.choose(ctx, list)
	if err != nil {
		return "", err
	}
	return names[i], nil
}

// podChoice is a list of pods from which the user chooses one.
type podChoice struct {
	names []string    // of the pods
	list  picker.List // a row for each pod
	// pod returns the pod at an index of names. It may request the pod.
	pod func(ctx context.Context, i int) (*corev1.Pod, error)
}

// podsToPick returns the pods that p selects. If it selects all pods of the
// namespace, or those of a label selector, there may be thousands. In that case,
// podsToPick requests only the rows of the list, and podChoice.pod requests the
// chosen pod.
func (a *app) podsToPick(
	ctx context.Context, kube *kubeconfig.Connection, c *remote.Cluster, p *execPlan,
) (podChoice, error) {
	if p.target == (pod.Target{}) {
		rows, err := c.Pods().Rows(ctx, kube.Namespace, p.pick.selector)
		switch {
		case err != nil && !errors.Is(err, pod.ErrNoTable):
			return podChoice{}, err
		case len(rows) > 0:
			names, list := rowMenu(kube.Namespace, rows)
			return podChoice{names, list, func(ctx context.Context, i int) (*corev1.Pod, error) {
				return c.Pods().Get(ctx, kube.Namespace, names[i])
			}}, nil
		}
	}
	running, skipped, err := c.Pods().List(ctx, pod.Request{
		Namespace: kube.Namespace, Target: p.target, Selector: p.pick.selector, Container: p.container,
	})
	if err != nil {
		return podChoice{}, err
	}
	pods, list := podMenu(kube.Namespace, running, skipped, time.Now())
	names := make([]string, len(pods))
	for i := range pods {
		names[i] = pods[i].Name
	}
	return podChoice{names, list, func(_ context.Context, i int) (*corev1.Pod, error) { return pods[i], nil }}, nil
}
