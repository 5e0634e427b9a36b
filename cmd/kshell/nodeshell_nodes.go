package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"kshell/internal/fanout"
	"kshell/internal/kubeconfig"
	"kshell/internal/nodeshell"
	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

// nodeNames completes the name of a node or, with --attach, of a pod.
func (a *app) nodeNames(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	typed, prefix := "", toComplete
	if kind, name, ok := strings.Cut(toComplete, "/"); ok {
		typed, prefix = kind+"/", name
	}
	return a.timely(cmd, func(ctx context.Context) []string {
		kube, err := a.connect(ctx, connectOptions{completing: true, nodeShell: changed(cmd, "attach")})
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
func (a *app) runOnNodes(
	ctx context.Context, kube *kubeconfig.Connection, m *nodeshell.Manager, c *remote.Cluster, p *nodePlan,
) error {
	wait := func() {}
	defer func() { wait() }()
	return a.runMany(ctx, p.exec, func(ctx context.Context) ([]fanout.Target, error) {
		return a.findNodes(ctx, m, c, p)
	}, func(n int) error {
		err := a.confirmContext(ctx, kube, manyAction(p.exec.command, "on", n, "node"))
		if err == nil {
			wait = m.StartDeletingLeftovers(ctx)
		}
		return err
	})
}

// findNodes finds the nodes of the plan.
func (a *app) findNodes(
	ctx context.Context, m *nodeshell.Manager, c *remote.Cluster, p *nodePlan,
) ([]fanout.Target, error) {
	selector := p.exec.many.selector
	nodes, err := m.Nodes(ctx, selector)
	switch {
	case err != nil:
		return nil, err
	case len(nodes) == 0 && selector != "":
		return nil, fmt.Errorf("no node has the labels %s", selector)
	case len(nodes) == 0:
		return nil, errors.New("the cluster has no nodes")
	}
	settings := a.fanoutSettings(p.exec, c)
	targets := make([]fanout.Target, len(nodes))
	for i := range nodes {
		name := nodes[i].Name
		targets[i] = fanout.Target{Title: notice.Clean(name), Node: name, Command: &nodeCommand{
			ContainerCommand: fanout.NewContainerCommand(settings, remote.Target{Namespace: p.options.Namespace}),
			manager:          m, node: name, command: p.exec.command,
		}}
	}
	if err := settings.CheckInput(targets, "nodes"); err != nil {
		return nil, err
	}
	return targets, m.CheckRights(ctx)
}

// nodeCommand is a command in a pod that Open creates on a node. It implements
// fanout.Command.
type nodeCommand struct {
	*fanout.ContainerCommand
	manager        *nodeshell.Manager
	node           string
	command        []string
	pod            *nodeshell.Pod // nil if none was created
	stopHeartbeats func()         // nil if none were started
}

// Open implements fanout.Command.
func (c *nodeCommand) Open(ctx context.Context, n *notice.Printer) error {
	if err := c.open(ctx, n); err != nil {
		return notice.WithMessage(err, "node "+c.node+": "+err.Error())
	}
	return nil
}

func (c *nodeCommand) open(ctx context.Context, n *notice.Printer) (err error) {
	if c.pod, err = c.manager.Open(ctx, n, c.node); err != nil {
		return err
	}
	if c.stopHeartbeats, err = c.pod.StartHeartbeats(ctx); err != nil {
		return err
	}
	c.SetTarget(c.pod.Target(), c.pod.Command(c.command))
	return nil
}

// Close implements fanout.Command: it deletes the pod.
func (c *nodeCommand) Close() {
	if c.stopHeartbeats != nil {
		c.stopHeartbeats()
	}
	if c.pod != nil {
		c.pod.Remove()
	}
}
