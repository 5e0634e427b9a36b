package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"kshell/internal/cleanup"
	"kshell/internal/kinds"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/picker"
	"kshell/internal/pod"
)

// choose shows a list and returns the index of the chosen row. If the user
// cancels, the error is the same as after Ctrl-C.
func (a *app) choose(ctx context.Context, list picker.List) (int, error) {
	ascii := notice.ASCIIOnly()
	if ascii {
		list.Title = notice.ASCII(list.Title)
		for _, row := range list.Rows {
			for i, cell := range row {
				row[i] = notice.ASCII(cell)
			}
		}
	}
	i, err := picker.Choose(ctx, list, picker.Options{
		In: a.In, Err: a.Err, Color: notice.ColorAllowed(), ASCII: ascii, Cleanup: a.cleanup,
	})
	switch {
	case errors.Is(err, picker.ErrCanceled):
		return 0, cleanup.SignalError{Signal: syscall.SIGINT}
	case errors.Is(err, picker.ErrNoTerminal):
		return 0, outcome.NewUsageError(err.Error(), "name the pod or node: kshell exec POD, kshell node-shell NODE")
	}
	return i, err
}

// podMenu returns the pods, running pods first, and a list with a row for each
// pod.
func podMenu(
	namespace string, running []pod.Found, skipped []pod.Skipped, now time.Time,
) ([]*corev1.Pod, picker.List) {
	list := picker.List{
		Title:  "pods in namespace " + notice.Clean(namespace),
		Header: []string{"NAME", "READY", "STATUS", "RESTARTS", "AGE"},
	}
	var pods []*corev1.Pod
	add := func(p *corev1.Pod, status string) {
		if p.DeletionTimestamp != nil {
			status = "Terminating"
		}
		ready, restarts := 0, int32(0)
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
		list.Rows = append(list.Rows, []string{
			notice.Clean(p.Name), fmt.Sprintf("%d/%d", ready, len(p.Spec.Containers)), notice.Clean(status),
			fmt.Sprint(restarts), age,
		})
	}
	for _, f := range running {
		add(f.Pod, "Running")
	}
	for _, s := range skipped {
		status := string(s.Pod.Status.Phase)
		var notRunning *pod.NotRunningError
		if errors.As(s.Err, &notRunning) && notRunning.Reason != "" {
			status = notRunning.Reason
		}
		add(s.Pod, status)
	}
	return pods, list
}

// rowMenu returns the names of the pods, running pods first, and a list with a row
// for each pod.
func rowMenu(namespace string, rows []pod.Row) (names []string, list picker.List) {
	list = picker.List{
		Title:  "pods in namespace " + notice.Clean(namespace),
		Header: []string{"NAME", "READY", "STATUS", "RESTARTS", "AGE"},
	}
	for _, running := range []bool{true, false} {
		for _, r := range rows {
			if (r.Status == "Running") != running {
				continue
			}
			cells := []string{r.Name, r.Ready, r.Status, r.Restarts, r.Age}
			for i := range cells {
				cells[i] = notice.Clean(cells[i])
			}
			names, list.Rows = append(names, r.Name), append(list.Rows, cells)
		}
	}
	return names, list
}

// containerMenu returns the names of the containers of p, and a list with a row
// for each. Init and ephemeral containers are included only if they are
// running. The default container is selected.
func containerMenu(p *corev1.Pod) ([]string, picker.List) {
	list := picker.List{
		Title: "containers of pod " + notice.Clean(p.Name), Header: []string{"NAME", "READY", "STATUS", "RESTARTS"},
	}
	var names []string
	add := func(name string, statuses []corev1.ContainerStatus, always bool) {
		row, running := []string{notice.Clean(name), "false", "Unknown", "0"}, false
		i := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == name })
		if i >= 0 {
			s := statuses[i]
			running = s.State.Running != nil
			state := notice.Clean(containerState(s.State))
			row = []string{notice.Clean(name), fmt.Sprint(s.Ready), state, fmt.Sprint(s.RestartCount)}
		}
		if always || running {
			names, list.Rows = append(names, name), append(list.Rows, row)
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
		list.Selected = max(0, slices.Index(names, name))
	}
	return names, list
}

// containerState returns a container's state as kubectl describe names it.
func containerState(s corev1.ContainerState) string {
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

// nodeMenu returns a list with a row for each node.
func nodeMenu(nodes []corev1.Node, now time.Time) picker.List {
	list := picker.List{Title: "nodes", Header: []string{"NAME", "STATUS", "ROLES", "VERSION", "AGE"}}
	for i := range nodes {
		n := &nodes[i]
		list.Rows = append(list.Rows, []string{
			notice.Clean(n.Name), kinds.NodeStatus(n), notice.Clean(kinds.NodeRoles(n)),
			notice.Clean(n.Status.NodeInfo.KubeletVersion),
			duration.HumanDuration(now.Sub(n.CreationTimestamp.Time)),
		})
	}
	return list
}
