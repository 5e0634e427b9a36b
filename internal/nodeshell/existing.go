package nodeshell

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"kshell/internal/cleanup"
	"kshell/internal/node"
	"kshell/internal/notice"
	"kshell/internal/pod"
)

// Columns returns the headers of the table of node shells.
func Columns() []string {
	return []string{"POD", "NODE", "KIND", "STATUS", "BY", "FROM", "AGE", "ENDS IN"}
}

// Row returns the row of a pod in the table of Columns. The cells are safe to
// print; see notice.Clean.
func Row(p *corev1.Pod, now time.Time) []string {
	facts, status, ends := node.FactsOf(p), string(p.Status.Phase), "-"
	if p.DeletionTimestamp != nil {
		status = "Terminating"
	}
	age := now.Sub(p.CreationTimestamp.Time)
	if left := facts.TTL - age; !node.HasEnded(p) && left > 0 {
		ends = duration.HumanDuration(left)
	}
	kind := "command"
	if facts.Shell {
		kind = "shell"
	}
	row := []string{
		p.Name, p.Spec.NodeName, kind, status, facts.CreatedBy, facts.CreatedFrom, duration.HumanDuration(age), ends,
	}
	for i, cell := range row {
		row[i] = cmp.Or(notice.Clean(cell), "-")
	}
	return row
}

// Pods returns the pods of node shells in a namespace, or in all namespaces if
// namespace is empty. Errors are *pod.RequestError.
func (m *Manager) Pods(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	pods, err := m.nodes.Pods(ctx, namespace)
	if err != nil {
		return nil, m.requestError("list", namespace, "", err)
	}
	return pods, nil
}

// requestError returns the error of a request for pods, or for the pod with
// this name.
func (m *Manager) requestError(verb, namespace, name string, err error) error {
	return &pod.RequestError{
		Verb: verb, Resource: "pods", Namespace: namespace, Target: pod.Target{Kind: "pod", Name: name},
		Server: m.cluster.Transport().Server(), Err: err,
	}
}

// Leftover is a pod of a node shell that can be deleted.
type Leftover struct {
	Pod    *corev1.Pod
	Reason string // such as "has ended"
}

// Leftovers returns the pods that have ended or should have ended, in a
// namespace or, if namespace is empty, in all namespaces. If olderThan is not
// 0, Leftovers also returns the running pods that are older than olderThan.
func (m *Manager) Leftovers(ctx context.Context, namespace string, olderThan time.Duration) ([]Leftover, error) {
	pods, err := m.Pods(ctx, namespace)
	if err != nil {
		return nil, err
	}
	var found []Leftover
	for i := range pods {
		if reason := leftoverReason(&pods[i], olderThan, time.Now()); reason != "" {
			found = append(found, Leftover{&pods[i], reason})
		}
	}
	return found, nil
}

// leftoverReason returns why a pod can be deleted; empty if it is kept.
func leftoverReason(p *corev1.Pod, olderThan time.Duration, now time.Time) string {
	reason := node.Leftover(p, now)
	age := now.Sub(p.CreationTimestamp.Time)
	if reason == "" && olderThan > 0 && age > olderThan && p.DeletionTimestamp == nil {
		reason = "is " + duration.HumanDuration(age) + " old"
	}
	return reason
}

// Delete deletes a pod. Errors are *pod.RequestError.
func (m *Manager) Delete(ctx context.Context, p *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, cleanup.Timeout)
	defer cancel()
	if err := m.nodes.Remove(ctx, p); err != nil {
		return m.requestError("delete", p.Namespace, p.Name, err)
	}
	return nil
}

// StartDeletingLeftovers deletes, in the background, the pods that earlier node
// shells left in the namespace of the Options. wait waits until these pods are
// deleted. Failures are printed only as details, because the user may lack the
// right to list pods.
func (m *Manager) StartDeletingLeftovers(ctx context.Context) (wait func()) {
	begin := make(chan struct{})
	close(begin)
	return m.startDeletingLeftovers(ctx, begin)
}

// startDeletingLeftovers is like StartDeletingLeftovers, but sends its first
// request when begin is closed. If ctx ends before that, it does nothing.
func (m *Manager) startDeletingLeftovers(ctx context.Context, begin <-chan struct{}) (wait func()) {
	var deleting sync.WaitGroup
	deleting.Go(func() {
		defer m.env.Cleanup.OnPanic()
		select {
		case <-begin:
		case <-ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		found, err := m.Leftovers(ctx, m.options.Pod.Namespace, 0)
		if err != nil {
			m.env.Notice.Detail("pods of earlier node shells were not deleted: %s", err)
			return
		}
		for _, l := range found {
			if err := m.Delete(ctx, l.Pod); err != nil {
				m.env.Notice.Detail("a pod that %s was not deleted: %s", l.Reason, err)
				continue
			}
			m.env.Notice.Detail("pod %s, which %s, was deleted", l.Pod.Name, l.Reason)
		}
	})
	return deleting.Wait
}

// Prompter asks the user questions.
type Prompter interface {
	// ChooseShell lets the user choose one of several pods, and returns its
	// index.
	ChooseShell(ctx context.Context, pods []corev1.Pod) (int, error)
	// Accept is called before kshell attaches to the shell of a pod. If it
	// returns an error, kshell does not attach.
	Accept(ctx context.Context, pod *corev1.Pod) error
	// CanConfirm reports whether Confirm can ask the user.
	CanConfirm() bool
	// Confirm asks a question. It reports whether the answer is yes.
	Confirm(ctx context.Context, question string) (bool, error)
}

// find returns the pod with the given name, which must run a shell. If name is
// empty and several shells run, the user chooses one. If name is empty and only
// one shell runs, which another user may have created, the user must confirm
// that kshell is to attach to it. The caller must call Remove on the pod.
// Remove keeps the pod running if kshell has not attached to it.
func (m *Manager) find(ctx context.Context, name string, user Prompter) (*Pod, error) {
	if err := m.CheckRights(ctx); err != nil {
		return nil, err
	}
	object, chosen, err := m.findShell(ctx, name, user)
	if err != nil {
		return nil, err
	}
	if _, ended := node.TerminationOf(object); ended {
		return nil, fmt.Errorf("the shell of pod %s has ended", object.Name)
	}
	if err := user.Accept(ctx, object); err != nil {
		return nil, err
	}
	facts := node.FactsOf(object)
	if err := m.confirmAttach(ctx, object, facts, chosen, user); err != nil {
		return nil, err
	}
	p := &Pod{
		manager: m, notice: m.env.Notice, object: object, found: &pod.Found{Pod: object, Container: node.Container},
		options: node.Options{Node: object.Spec.NodeName, TTL: facts.TTL, HeartbeatTimeout: facts.HeartbeatTimeout},
	}
	p.keep.Store(true)
	p.unregister = m.env.Cleanup.Register(p.Remove)
	return p, nil
}

// findShell returns the pod of a running shell. chosen reports whether the user
// named the pod, or chose it from a list that shows who created it.
func (m *Manager) findShell(ctx context.Context, name string, user Prompter) (p *corev1.Pod, chosen bool, err error) {
	namespace := m.options.Pod.Namespace
	if name != "" {
		p, err := m.cluster.Pods().Get(ctx, namespace, name)
		var missing *pod.RequestError
		switch {
		case errors.As(err, &missing) && missing.NotFound():
			return nil, false, notice.WithHint(notice.WithMessage(err, err.Error()), "type `"+m.options.Program+" list -A`")
		case err != nil:
			return nil, false, err
		case !node.IsNodeShell(p) || !node.FactsOf(p).Shell:
			return nil, false, notice.WithHint(
				fmt.Errorf("pod %s does not run a node shell that can be attached to", p.Name), "type `"+m.options.Program+" list`")
		}
		return p, true, nil
	}
	pods, err := m.Pods(ctx, namespace)
	if err != nil {
		return nil, false, err
	}
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool {
		return !node.FactsOf(&p).Shell || p.Status.Phase != corev1.PodRunning || p.DeletionTimestamp != nil
	})
	switch len(pods) {
	case 0:
		return nil, false, notice.WithHint(
			fmt.Errorf("no node shell runs in namespace %s", namespace), "type `"+m.options.Program+" list -A`")
	case 1:
		return &pods[0], false, nil
	}
	i, err := user.ChooseShell(ctx, pods)
	if err != nil {
		return nil, false, err
	}
	return &pods[i], true, nil
}

// confirmAttach prints which pod kshell attaches to and who created it. It asks
// the user first, unless chosen is set or the pod's annotations name this user
// and host.
func (m *Manager) confirmAttach(
	ctx context.Context, p *corev1.Pod, facts node.Facts, chosen bool, user Prompter,
) error {
	by, from := m.options.Pod.CreatedBy, m.options.Pod.CreatedFrom
	if chosen || facts.ClaimsCreator(by, from) {
		m.env.Notice.Note("attaching to pod %s on node %s, %s", p.Name, p.Spec.NodeName, createdBy(facts))
		return nil
	}
	description := fmt.Sprintf("pod %s on node %s was %s; you are %s",
		p.Name, p.Spec.NodeName, createdBy(facts), userAndHost(by, from))
	if !user.CanConfirm() {
		return notice.WithHint(
			fmt.Errorf("%s: cannot ask whether to attach to it, because stderr is not a terminal", description),
			fmt.Sprintf("type `%s --attach -n %s %s`", m.options.Program, p.Namespace, p.Name),
		)
	}
	m.env.Notice.WarnAlways("%s", description)
	yes, err := user.Confirm(ctx, "attach to it?")
	if err == nil && !yes {
		err = fmt.Errorf("not attached to pod %s", p.Name)
	}
	return err
}

// createdBy returns who created a pod, according to its annotations.
func createdBy(facts node.Facts) string {
	if facts.CreatedBy == "" && facts.CreatedFrom == "" {
		return "created by an unknown user (its annotations name none)"
	}
	return "created by " + userAndHost(facts.CreatedBy, facts.CreatedFrom) + " (according to its annotations)"
}

// userAndHost returns "NAME from HOST".
func userAndHost(name, host string) string {
	return fmt.Sprintf("%s from %s", cmp.Or(name, "an unknown user"), cmp.Or(host, "an unknown host"))
}
