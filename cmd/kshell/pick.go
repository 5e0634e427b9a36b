package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"kshell/internal/cleanup"
	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
)

// pickFlags let the user choose from a list.
type pickFlags struct{ pick bool }

func (f *pickFlags) addTo(flags *pflag.FlagSet) {
	flags.BoolVar(&f.pick, "pick", false, "choose from a list where TYPE/NAME or -l finds several pods; the default where no pod is named on a terminal")
}

// pickPlan is a list to choose the pod from; nil for none.
type pickPlan struct {
	selector string
	always   bool // even of one pod
}

// planPick settles whether there is a list. Local are the streams themselves, whatever the command's input is.
func (f *pickFlags) planPick(cmd *cobra.Command, many *manyFlags, named []string, local terminals) (*pickPlan, error) {
	selector := strings.TrimSpace(many.selector)
	switch {
	case many.all && f.pick:
		return nil, usage(cmd, "--pick chooses one pod, and --all is for all of them: they do not go together")
	case many.all || !f.pick && (len(named) > 0 || selector != ""):
		return nil, nil
	case !local.in || !local.out:
		words := "which pod? none was named"
		if f.pick {
			words = "--pick needs a terminal at both stdin and stdout"
		}
		return nil, outcome.NewUsageError(words, cmd.CommandPath()+" (POD | TYPE/NAME) -- COMMAND; on a terminal "+cmd.CommandPath()+" lists the pods")
	case len(named) > 0 && selector != "":
		return nil, usage(cmd, "-l and "+named[0]+" are two ways to say which pods")
	}
	return &pickPlan{selector: selector, always: !f.pick}, nil
}

// menu is a list to choose from: a row of cells for each thing, the first of which is its name.
type menu struct {
	title  string
	header []string
	rows   [][]string // clean
	first  int        // the row that is proposed
}

// errUnpicked is the end of a list from which nothing was chosen: as if Ctrl-C had been pressed before there was a list.
var errUnpicked error = cleanup.SignalError{Signal: syscall.SIGINT}

// pick has the user choose the plan's pod and container.
func (a *app) pick(ctx context.Context, kube *kubeconfig.Connection, p *execPlan) error {
	client, err := a.podClient(kube.Config)
	if err != nil {
		return err
	}
	running, skipped, err := client.List(ctx, pod.Request{
		Namespace: kube.Namespace, Target: p.target, Selector: p.pick.selector, Container: p.container,
	})
	var unseen *pod.GetForbiddenError
	switch {
	case errors.As(err, &unseen):
		return nil // it has been named, and is the only one
	case err != nil:
		return outcome.ContextCause(ctx, a.unseen(ctx, client, err))
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
	a.notice.Detail("pod %s was chosen", chosen.Name)
	names, list := containerMenu(chosen)
	if p.container != "" || len(names) < 2 {
		return nil
	}
	if i, err = a.choose(ctx, list); err != nil {
		return outcome.ContextCause(ctx, err)
	}
	p.container = names[i]
	return nil
}

// podMenu is the list of the pods: those that run first.
func podMenu(namespace string, running []pod.Found, skipped []pod.Skipped, now time.Time) ([]*corev1.Pod, menu) {
	list := menu{title: "a pod of namespace " + notice.Clean(namespace), header: []string{"NAME", "READY", "STATUS", "RESTARTS", "AGE"}}
	var pods []*corev1.Pod
	add := func(p *corev1.Pod, status string) {
		if p.DeletionTimestamp != nil {
			status = "Terminating"
		}
		ready, all, restarts := 0, len(p.Spec.Containers), int32(0)
		for _, c := range p.Status.ContainerStatuses {
			restarts += c.RestartCount
			if c.Ready {
				ready++
			}
		}
		age := "?"
		if !p.CreationTimestamp.IsZero() {
			age = duration.HumanDuration(now.Sub(p.CreationTimestamp.Time))
		}
		pods = append(pods, p)
		list.rows = append(list.rows, []string{notice.Clean(p.Name), fmt.Sprintf("%d/%d", ready, all), notice.Clean(status), fmt.Sprint(restarts), age})
	}
	for _, f := range running {
		add(f.Pod, "Running")
	}
	for _, s := range skipped {
		status := string(s.Pod.Status.Phase)
		var not *pod.NotRunningError
		if errors.As(s.Err, &not) && not.Reason != "" {
			status = not.Reason
		}
		add(s.Pod, status)
	}
	return pods, list
}

// containerMenu is the list of a pod's containers in which something can be run: its own ones, and of the init and ephemeral ones those that run.
// The default one is proposed.
func containerMenu(p *corev1.Pod) ([]string, menu) {
	list := menu{title: "a container of pod " + notice.Clean(p.Name), header: []string{"NAME", "READY", "STATUS", "RESTARTS"}}
	var names []string
	add := func(name string, states []corev1.ContainerStatus, must bool) {
		row := []string{notice.Clean(name), "false", "Unknown", "0"}
		i := slices.IndexFunc(states, func(s corev1.ContainerStatus) bool { return s.Name == name })
		if i >= 0 {
			s := states[i]
			row = []string{notice.Clean(name), fmt.Sprint(s.Ready), notice.Clean(stateOf(s.State)), fmt.Sprint(s.RestartCount)}
		}
		if must || i >= 0 && states[i].State.Running != nil {
			names, list.rows = append(names, name), append(list.rows, row)
		}
	}
	for _, c := range p.Spec.Containers {
		add(c.Name, p.Status.ContainerStatuses, true)
	}
	for _, c := range p.Spec.InitContainers {
		add(c.Name, p.Status.InitContainerStatuses, false)
	}
	for _, c := range p.Spec.EphemeralContainers {
		add(c.Name, p.Status.EphemeralContainerStatuses, false)
	}
	if name, _, err := pod.ChooseContainer(p, ""); err == nil {
		list.first = max(0, slices.Index(names, name))
	}
	return names, list
}

// stateOf is a container's state in the API's word.
func stateOf(s corev1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "Running"
	case s.Terminated != nil && s.Terminated.Reason != "":
		return s.Terminated.Reason
	case s.Terminated != nil:
		return "Terminated"
	case s.Waiting != nil && s.Waiting.Reason != "":
		return s.Waiting.Reason
	}
	return "Waiting"
}
