package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kshell/internal/kubeconfig"
	"kshell/internal/nodeshell"
	"kshell/internal/notice"
	"kshell/internal/outcome"
)

func newNodeList(a *app) *cobra.Command {
	var allNamespaces bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the pods of node shells",
		Annotations: map[string]string{commonFlags: `
Flags:
  -A, --all-namespaces     in all namespaces
` + connectionGroup},
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.listNodeShells(cmd.Context(), allNamespaces)
		},
	}
	cmd.Flags().BoolVarP(&allNamespaces, "all-namespaces", "A", false, "in all namespaces")
	return cmd
}

// nodeManagerIn returns a Manager, its connection, and the namespace in which to
// search for pods. An empty namespace means all namespaces. deletes means that the
// caller deletes pods; see connectOptions.
func (a *app) nodeManagerIn(
	ctx context.Context, allNamespaces, deletes bool,
) (m *nodeshell.Manager, kube *kubeconfig.Connection, namespace string, err error) {
	kube, err = a.connect(ctx, connectOptions{nodeShell: true, needsReason: deletes})
	if err != nil {
		return nil, nil, "", outcome.ContextCause(ctx, err)
	}
	m, _, err = a.newNodeManager(kube, nodeshell.Options{})
	if allNamespaces {
		return m, kube, "", err
	}
	return m, kube, kube.Namespace, err
}

func (a *app) listNodeShells(ctx context.Context, allNamespaces bool) error {
	m, _, namespace, err := a.nodeManagerIn(ctx, allNamespaces, false)
	if err != nil {
		return err
	}
	pods, err := m.Pods(ctx, namespace)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	if len(pods) == 0 {
		a.notice.Note("there are no node shells%s", inNamespace(namespace))
		return nil
	}
	rows := [][]string{nodeshell.Columns()}
	for i := range pods {
		rows = append(rows, nodeshell.Row(&pods[i], time.Now()))
	}
	if allNamespaces {
		rows[0] = append([]string{"NAMESPACE"}, rows[0]...)
		for i := range pods {
			rows[i+1] = append([]string{pods[i].Namespace}, rows[i+1]...)
		}
	}
	a.printTable(rows)
	return nil
}

// inNamespace returns " in namespace NAME" for the end of a sentence, or "" for
// all namespaces.
func inNamespace(namespace string) string {
	if namespace == "" {
		return ""
	}
	return " in namespace " + namespace
}

type gcFlags struct {
	allNamespaces, dryRun bool
	olderThan             time.Duration
}

func newNodeGC(a *app) *cobra.Command {
	var f gcFlags
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Delete the pods of node shells that have ended, or should have",
		Annotations: map[string]string{commonFlags: `
Flags:
  -A, --all-namespaces     in all namespaces
      --older-than TIME    also delete running pods that are older than this
      --dry-run            print what would be deleted, and delete nothing
` + connectionGroup},
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notNegative("older-than", f.olderThan); err != nil {
				return err
			}
			return a.gc(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "in all namespaces")
	flags.DurationVar(&f.olderThan, "older-than", 0, "also delete running pods that are older than this")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would be deleted, and delete nothing")
	a.addConfirmFlag(flags)
	return cmd
}

func (a *app) gc(ctx context.Context, f gcFlags) error {
	m, kube, namespace, err := a.nodeManagerIn(ctx, f.allNamespaces, !f.dryRun)
	if err != nil {
		return err
	}
	leftovers, err := m.Leftovers(ctx, namespace, f.olderThan)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	if len(leftovers) == 0 {
		a.notice.Note("there is nothing to delete%s", inNamespace(namespace))
		return nil
	}
	if !f.dryRun {
		action := fmt.Sprintf("delete %s of node shells%s", counted(len(leftovers), "pod"), inNamespace(namespace))
		if err := a.confirmContext(ctx, kube, action); err != nil {
			return err
		}
	}
	var failed []error
	for _, l := range leftovers {
		result := "would be deleted"
		if !f.dryRun {
			if err := m.Delete(ctx, l.Pod); err != nil {
				failed = append(failed, err)
				continue
			}
			result = "deleted"
		}
		_, _ = fmt.Fprintf(a.printed, "pod %s in namespace %s %s: %s\n", // a.printed keeps the error
			notice.Clean(l.Pod.Name), notice.Clean(l.Pod.Namespace), l.Reason, result)
	}
	return outcome.ContextCause(ctx, errors.Join(failed...))
}
