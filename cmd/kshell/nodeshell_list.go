package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"kshell/internal/cleanup"
	"kshell/internal/node"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/picker"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/terminal"
)

func newNodeList(a *app) *cobra.Command {
	var everywhere bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the node shells that there are",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.listNodeShells(cmd.Context(), everywhere)
		},
	}
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "of all namespaces")
	return cmd
}

// nodeShellsIn returns a nodeShells for commands without a plan.
func (a *app) nodeShellsIn(everywhere bool) (s *nodeShells, namespace string, err error) {
	kube, err := a.connect()
	if err != nil {
		return nil, "", err
	}
	s, err = a.newNodeShells(kube, &nodePlan{})
	if everywhere {
		return s, "", err
	}
	return s, kube.Namespace, err
}

func (a *app) listNodeShells(ctx context.Context, everywhere bool) error {
	s, namespace, err := a.nodeShellsIn(everywhere)
	if err != nil {
		return err
	}
	pods, err := s.client.Pods(ctx, namespace)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	if len(pods) == 0 {
		a.notice.Note("there are no node shells%s", in(namespace))
		return nil
	}
	rows := [][]string{{"POD", "NODE", "KIND", "STATUS", "BY", "FROM", "AGE", "ENDS IN"}}
	for i := range pods {
		rows = append(rows, listed(&pods[i], time.Now()))
	}
	if everywhere {
		rows[0] = append([]string{"NAMESPACE"}, rows[0]...)
		for i := range pods {
			rows[i+1] = append([]string{pods[i].Namespace}, rows[i+1]...)
		}
	}
	a.printTable(rows)
	return nil
}

func in(namespace string) string {
	if namespace == "" {
		return ""
	}
	return " in namespace " + namespace
}

// listed returns the row of a pod in the list.
func listed(p *corev1.Pod, now time.Time) []string {
	facts, status, ends := node.FactsOf(p), string(p.Status.Phase), "-"
	if p.DeletionTimestamp != nil {
		status = "Terminating"
	}
	if left := facts.TTL - now.Sub(p.CreationTimestamp.Time); !node.HasEnded(p) && left > 0 {
		ends = duration.HumanDuration(left)
	}
	kind := "command"
	if facts.Shell {
		kind = "shell"
	}
	row := []string{p.Name, p.Spec.NodeName, kind, status, facts.CreatedBy, facts.CreatedFrom, duration.HumanDuration(now.Sub(p.CreationTimestamp.Time)), ends}
	for i, cell := range row {
		if row[i] = notice.Clean(cell); cell == "" {
			row[i] = "-"
		}
	}
	return row
}

func newNodeGC(a *app) *cobra.Command {
	var f gcFlags
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Delete the pods of node shells that have ended, or should have",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notNegative(cmd, "older-than", f.older); err != nil {
				return err
			}
			return a.gc(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.everywhere, "all-namespaces", "A", false, "in all namespaces")
	flags.DurationVar(&f.older, "older-than", 0, "also those that still run, when they are older than this")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be deleted, and delete nothing")
	return cmd
}

type gcFlags struct {
	everywhere, dryRun bool
	older              time.Duration
}

// leftover returns why a pod is deleted, or "" if it is kept.
func (f *gcFlags) leftover(p *corev1.Pod, now time.Time) string {
	why := node.Leftover(p, now)
	if old := now.Sub(p.CreationTimestamp.Time); why == "" && f.older > 0 && old > f.older && p.DeletionTimestamp == nil {
		why = "is " + duration.HumanDuration(old) + " old"
	}
	return why
}

func (a *app) gc(ctx context.Context, f gcFlags) error {
	s, namespace, err := a.nodeShellsIn(f.everywhere)
	if err != nil {
		return err
	}
	pods, err := s.client.Pods(ctx, namespace)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	if !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return f.leftover(&p, time.Now()) != "" }) {
		a.notice.Note("nothing is left over%s", in(namespace))
	}
	var failed []error
	for i := range pods {
		p := &pods[i]
		why := f.leftover(p, time.Now())
		switch {
		case why == "":
			continue
		case f.dryRun:
			why += ": would be deleted"
		default:
			if err := s.drop(ctx, p); err != nil {
				failed = append(failed, fmt.Errorf("pod %s in namespace %s cannot be deleted: %w", p.Name, p.Namespace, err))
				continue
			}
			why += ": deleted"
		}
		_, _ = fmt.Fprintf(a.printed, "pod %s in namespace %s %s\n", notice.Clean(p.Name), notice.Clean(p.Namespace), why) // which remembers
	}
	return outcome.ContextCause(ctx, errors.Join(failed...))
}

func (s *nodeShells) drop(ctx context.Context, p *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, cleanup.Timeout)
	defer cancel()
	return s.client.Remove(ctx, p)
}

// sweep deletes, in the background, pods that earlier node shells left in the
// namespace. It does nothing if the user may not list pods.
func (s *nodeShells) sweep(ctx context.Context) {
	s.sweeps.Go(func() {
		defer s.cleanup.OnPanic()
		ctx, cancel := context.WithTimeout(ctx, lookingAt)
		defer cancel()
		pods, err := s.client.Pods(ctx, s.plan.options.Namespace)
		if err != nil {
			s.notice.Detail("leftovers were not looked for: %s", err)
			return
		}
		for i := range pods {
			p := &pods[i]
			why := node.Leftover(p, time.Now())
			if why == "" {
				continue
			}
			if err := s.drop(ctx, p); err != nil {
				s.notice.Detail("pod %s, which %s, could not be deleted: %s", p.Name, why, err)
				continue
			}
			s.notice.Detail("pod %s, which %s, was deleted", p.Name, why)
		}
	})
}

// comeBack attaches to a shell that was left running.
func (s *nodeShells) comeBack(ctx context.Context) error {
	if err := s.allow(ctx); err != nil {
		return err
	}
	found, named, err := s.running(ctx)
	if err != nil {
		return err
	}
	facts := node.FactsOf(found)
	if _, over := node.TerminationOf(found); over {
		return fmt.Errorf("the shell of pod %s has ended", found.Name)
	}
	if err := s.mayAttach(ctx, found, facts, named); err != nil {
		return err
	}
	p := &nodePod{nodeShells: s, notice: s.notice, pod: found}
	p.options = node.Options{Node: found.Spec.NodeName, TTL: facts.TTL, HeartbeatTimeout: facts.HeartbeatTimeout}
	p.keep.Store(true) // until we are there
	p.release = s.cleanup.Register(p.remove)
	defer p.remove()
	at := remote.Target{Namespace: found.Namespace, Pod: found.Name, Container: node.Container, Found: &pod.Found{Pod: found, Container: node.Container}}
	_, err = p.attend(ctx, at, true)
	return err
}

// mayAttach prints which pod is attached to and who created it. It asks the
// user first, unless the user named the pod or the annotations name this user
// and host.
func (s *nodeShells) mayAttach(ctx context.Context, p *corev1.Pod, facts node.Facts, named bool) error {
	by, from := s.plan.options.CreatedBy, s.plan.options.CreatedFrom
	if named || facts.ClaimsCreator(by, from) {
		s.notice.Note("attaching to pod %s on node %s, %s", p.Name, p.Spec.NodeName, madeBy(facts))
		return nil
	}
	words := fmt.Sprintf("pod %s on node %s was %s; you are %s", p.Name, p.Spec.NodeName, madeBy(facts), userAt(by, from))
	if !terminal.IsTerminal(s.Err) {
		return notice.WithHint(
			fmt.Errorf("%s: cannot ask whether to attach to it, because stderr is not a terminal", words),
			fmt.Sprintf("%s --attach -n %s %s", s.plan.exec.path, p.Namespace, p.Name),
		)
	}
	s.notice.WarnAlways("%s", words)
	yes, err := s.confirm(ctx, "attach to it?")
	if err == nil && !yes {
		err = fmt.Errorf("not attached to pod %s", p.Name)
	}
	return err
}

// madeBy returns who created a pod, according to its annotations.
func madeBy(facts node.Facts) string {
	if facts.CreatedBy == "" && facts.CreatedFrom == "" {
		return "made by an unknown user (its annotations name none)"
	}
	return "made by " + userAt(facts.CreatedBy, facts.CreatedFrom) + " (according to its annotations)"
}

// userAt returns "NAME from HOST".
func userAt(name, host string) string {
	return fmt.Sprintf("%s from %s", cmp.Or(name, "an unknown user"), cmp.Or(host, "an unknown host"))
}

// running returns the pod of the shell to attach to. named reports whether the
// user named it, or chose it from a list that shows who created it.
func (s *nodeShells) running(ctx context.Context) (p *corev1.Pod, named bool, err error) {
	if s.plan.attach != "" {
		p, err := s.pods.Get(ctx, s.plan.options.Namespace, s.plan.attach)
		switch {
		case isPodNotFound(err):
			return nil, false, notice.WithHint(notice.WithMessage(err, err.Error()), s.plan.exec.path+" list -A")
		case err != nil:
			return nil, false, err
		case !node.IsNodeShell(p) || !node.FactsOf(p).Shell:
			return nil, false, notice.WithHint(fmt.Errorf("pod %s does not run a node shell that can be attached to", p.Name), s.plan.exec.path+" list")
		}
		return p, true, nil
	}
	pods, err := s.client.Pods(ctx, s.plan.options.Namespace)
	if err != nil {
		return nil, false, err
	}
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool {
		return !node.FactsOf(&p).Shell || p.Status.Phase != corev1.PodRunning || p.DeletionTimestamp != nil
	})
	switch len(pods) {
	case 0:
		return nil, false, notice.WithHint(fmt.Errorf("no node shell runs in namespace %s", s.plan.options.Namespace), s.plan.exec.path+" list -A")
	case 1:
		return &pods[0], false, nil
	}
	list := picker.List{Title: "a shell", Header: []string{"POD", "NODE", "KIND", "STATUS", "BY", "FROM", "AGE", "ENDS IN"}}
	for i := range pods {
		list.Rows = append(list.Rows, listed(&pods[i], time.Now()))
	}
	i, err := s.choose(ctx, list)
	if err != nil {
		return nil, false, err
	}
	return &pods[i], true, nil
}

// isPodNotFound reports whether err is an answer of the API server that the requested
// pod does not exist.
func isPodNotFound(err error) bool {
	var refused *pod.RequestError
	return errors.As(err, &refused) && refused.NotFound()
}
