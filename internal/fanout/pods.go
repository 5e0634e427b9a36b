package fanout

import (
	"context"
	"errors"

	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

// FindPods returns a target for each pod of r, sorted by name. The targets
// include pods that do not run yet and pods that no longer run: Open waits for
// their containers, or fails. FindPods prints notes about the pods.
func FindPods(ctx context.Context, s *Settings, r pod.Request) ([]Target, error) {
	running, skipped, err := s.Cluster.Pods().List(ctx, r)
	var forbidden *pod.GetForbiddenError
	var commands []*podCommand
	switch {
	case errors.As(err, &forbidden):
		s.Env.Notice.Detail("pod %s was not checked: %s", r.Target.Name, forbidden)
		t := remote.Target{Namespace: r.Namespace, Pod: r.Target.Name, Container: r.Container}
		commands = []*podCommand{newPodCommand(s, t, nil)}
	case err != nil:
		return nil, outcome.ContextCause(ctx, remote.ExplainForbidden(ctx, s.Env, s.Cluster, err))
	default:
		commands = podCommands(s, r, running, skipped)
	}
	targets := podTargets(commands)
	return targets, s.CheckInput(targets, "pods")
}

// podCommands returns the commands in pods, sorted by name. It prints the notes
// about the pods, each once.
func podCommands(s *Settings, r pod.Request, running []pod.Found, skipped []pod.Skipped) []*podCommand {
	var commands []*podCommand
	add := func(found *pod.Found, container string, err error) {
		// The pods of a list share one array. A copy of a pod can be freed before the
		// others.
		own := *found.Pod
		found = &pod.Found{Pod: &own, Container: found.Container, Notes: found.Notes}
		t := remote.Target{Namespace: r.Namespace, Pod: found.Pod.Name, Container: container, Found: found}
		commands = append(commands, newPodCommand(s, t, err))
	}
	n, printed := s.Env.Notice, map[string]bool{}
	for i := range running {
		found := &running[i]
		for len(skipped) > 0 && skipped[0].Pod.Name < found.Pod.Name {
			add(&pod.Found{Pod: skipped[0].Pod}, r.Container, skipped[0].Err)
			skipped = skipped[1:]
		}
		for _, note := range found.Notes {
			if !printed[note] {
				n.Note("%s", note)
			}
			printed[note] = true
		}
		n.Detail("pod %s, container %s, node %s", found.Pod.Name, found.Container, found.Pod.Spec.NodeName)
		add(found, found.Container, nil)
	}
	for _, p := range skipped {
		add(&pod.Found{Pod: p.Pod}, r.Container, p.Err)
	}
	return commands
}

// podTargets returns the targets of commands. A title is the name of the pod.
// If not all containers have the same name, the title includes the name of the
// container.
func podTargets(commands []*podCommand) []Target {
	names := map[string]bool{}
	for _, c := range commands {
		if name := c.target.Container; name != "" {
			names[name] = true
		}
	}
	targets := make([]Target, len(commands))
	for i, c := range commands {
		title := notice.Clean(c.target.Pod)
		if name := c.target.Container; len(names) > 1 && name != "" {
			title += "/" + notice.Clean(name)
		}
		targets[i] = Target{Title: title, Command: c}
	}
	return targets
}

// podCommand is the command in a pod that exists.
type podCommand struct {
	*ContainerCommand
	err error // why no command can be run in the container now; nil if commands can be run
}

func newPodCommand(s *Settings, t remote.Target, err error) *podCommand {
	return &podCommand{ContainerCommand: NewContainerCommand(s, t), err: err}
}

// Open implements Command. It waits for a container that does not run yet.
func (c *podCommand) Open(ctx context.Context, n *notice.Printer) error {
	s := c.settings
	var stopped *pod.NotRunningError
	if s.WaitRunning == 0 || !errors.As(c.err, &stopped) || stopped.Permanent {
		return c.err
	}
	env := s.Env
	env.Notice = n
	t, err := remote.Resolve(ctx, env, s.Cluster, pod.Request{
		Namespace: c.target.Namespace,
		Target:    pod.Target{Kind: "pod", Name: c.target.Pod},
		Container: s.Options.Pod.Container,
	}, s.WaitRunning)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	c.SetTarget(t, nil)
	return nil
}
