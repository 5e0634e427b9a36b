package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"kshell/internal/node"
	"kshell/internal/notice"
	"kshell/internal/outcome"
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
		kube, err := a.unattended()
		if err != nil {
			return nil
		}
		path := "/api/v1/nodes"
		if changed(cmd, "attach") {
			path = listPath("pod", kube.Namespace)
		}
		names := namesAt(ctx, kube.Config, path, prefix)
		for i := range names {
			names[i] = typed + names[i]
		}
		return names
	}), cobra.ShellCompDirectiveNoFileComp
}

// gather finds the nodes of a command that is for several.
func (s *nodeShells) gather(ctx context.Context, m *many) error {
	ctx, cancel := m.plan.script.limited(ctx)
	defer cancel()
	if err := rereadable(m.plan.script.stdinFile); err != nil {
		return err
	}
	nodes, err := s.client.Nodes(ctx, m.plan.many.selector)
	switch {
	case err != nil:
		return err
	case len(nodes) == 0 && m.plan.many.selector != "":
		return fmt.Errorf("no node has the labels %s", m.plan.many.selector)
	case len(nodes) == 0:
		return fmt.Errorf("the cluster has no nodes")
	case len(nodes) > 1 && m.plan.stdin && m.plan.script.stdinFile == "":
		return outcome.NewUsageError(
			fmt.Sprintf("-i is for one node, and these are %d: one input cannot be given to all", len(nodes)), "--stdin-file FILE is read anew for each node",
		)
	}
	if err := s.allow(ctx); err != nil {
		return err
	}
	m.cluster = s.cluster
	for i := range nodes {
		m.add(remote.Target{Namespace: s.plan.options.Namespace}, nil)
		m.titles[i], m.nodes[i] = notice.Clean(nodes[i].Name), nodes[i].Name
	}
	s.sweep(ctx)
	m.enter = s.enter
	m.left = s.sweeps.Wait
	return nil
}

// enter makes the pod for a place of many; leave removes it.
func (s *nodeShells) enter(ctx context.Context, m *many, i int) (command []string, leave func()) {
	leave = func() {}
	name := m.nodes[i]
	fail := func(err error) {
		m.refused[i] = notice.WithMessage(err, "node "+name+": "+err.Error())
	}
	if ctx.Err() != nil {
		fail(outcome.ContextCause(ctx, context.Cause(ctx)))
		return nil, leave
	}
	n := m.notice.WithPrefix(m.titles[i])
	p, at, err := s.open(ctx, n, name)
	if p != nil {
		leave = p.remove
	}
	if err != nil {
		fail(err)
		return nil, leave
	}
	m.places[i] = at
	env := m.env()
	env.Notice = n
	signs, err := remote.New(env, s.cluster, at, m.plan.options())
	if err != nil {
		fail(err)
		return nil, p.remove
	}
	stop := alive(ctx, signs, p.options.HeartbeatTimeout, node.HeartbeatCommand(p.options.Windows, ""))
	return p.options.Command(m.plan.command), func() {
		stop()
		p.remove()
	}
}
