package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"kshell/internal/fanout"
	"kshell/internal/node"
	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

// nodeNames completes the node, or the pod to come back to.
func (a *app) nodeNames(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	typed, prefix := "", toComplete
	if kind, name, ok := strings.Cut(toComplete, "/"); ok {
		typed, prefix = kind+"/", name
	}
	return timely(cmd, func(ctx context.Context) []string {
		kube, err := a.connectForCompletion()
		if err != nil {
			return nil
		}
		path := "/api/v1/nodes"
		if changed(cmd, "attach") {
			if path, err = pod.ListPath("pod", kube.Namespace); err != nil {
				return nil
			}
		}
		names := listNames(ctx, kube.Config, path, prefix)
		for i := range names {
			names[i] = typed + names[i]
		}
		return names
	}), cobra.ShellCompDirectiveNoFileComp
}

// runOnNodes runs the plan's command on several nodes.
func (s *nodeShells) runOnNodes(ctx context.Context) error {
	defer s.sweeps.Wait()
	return s.runMany(ctx, s.plan.exec, s.findNodes)
}

// findNodes finds the nodes of the plan.
func (s *nodeShells) findNodes(ctx context.Context) ([]fanout.Target, error) {
	p := s.plan.exec
	nodes, err := s.client.Nodes(ctx, p.many.selector)
	switch {
	case err != nil:
		return nil, err
	case len(nodes) == 0 && p.many.selector != "":
		return nil, fmt.Errorf("no node has the labels %s", p.many.selector)
	case len(nodes) == 0:
		return nil, fmt.Errorf("the cluster has no nodes")
	}
	settings := s.fanoutSettings(p, s.cluster)
	targets := make([]fanout.Target, len(nodes))
	for i := range nodes {
		name := nodes[i].Name
		targets[i] = fanout.Target{Title: notice.Clean(name), Node: name, Command: &nodeCommand{
			ContainerCommand: fanout.NewContainerCommand(settings, remote.Target{Namespace: s.plan.options.Namespace}),
			shells:           s,
			node:             name,
		}}
	}
	if err := settings.CheckInput(targets, "nodes"); err != nil {
		return nil, err
	}
	if err := s.allow(ctx); err != nil {
		return nil, err
	}
	s.sweep(ctx)
	return targets, nil
}

// nodeCommand is the plan's command in a pod that Open creates on a node. It implements
// fanout.Command.
type nodeCommand struct {
	*fanout.ContainerCommand
	shells        *nodeShells
	node          string
	pod           *nodePod // nil if none was created
	stopHeartbeat func()   // nil if none was started
}

// Open implements fanout.Command.
func (c *nodeCommand) Open(ctx context.Context, n *notice.Printer) error {
	if err := c.open(ctx, n); err != nil {
		return notice.WithMessage(err, "node "+c.node+": "+err.Error())
	}
	return nil
}

func (c *nodeCommand) open(ctx context.Context, n *notice.Printer) error {
	s := c.shells
	p, target, err := s.open(ctx, n, c.node)
	c.pod = p
	if err != nil {
		return err
	}
	env := s.env()
	env.Notice = n
	heartbeats, err := remote.New(env, s.cluster, target, s.plan.exec.options())
	if err != nil {
		return err
	}
	o := p.options
	c.stopHeartbeat = alive(ctx, heartbeats, o.HeartbeatTimeout, node.HeartbeatCommand(o.Windows, ""))
	c.SetTarget(target, o.Command(s.plan.exec.command))
	return nil
}

// Close implements fanout.Command: it deletes the pod.
func (c *nodeCommand) Close() {
	if c.stopHeartbeat != nil {
		c.stopHeartbeat()
	}
	if c.pod != nil {
		c.pod.remove()
	}
}
