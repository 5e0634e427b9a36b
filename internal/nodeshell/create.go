package nodeshell

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/apiclient"
	"kshell/internal/node"
	"kshell/internal/notice"
	"kshell/internal/pod"
)

// create creates a pod. The caller must call Remove on the returned Pod.
func (m *Manager) create(ctx context.Context, n *notice.Printer, o node.Options) (*Pod, error) {
	if ctx.Err() != nil { // a signal came before the request
		n.Note("no pod was created")
		return nil, context.Cause(ctx)
	}
	object := node.Pod(o)
	p := &Pod{manager: m, notice: n, options: o}
	defer m.env.Cleanup.Register(nil)()
	// The response shows whether there is a pod to delete, so the request may
	// outlive the context.
	requestCtx, cancel := m.env.Cleanup.OutliveContext(ctx, requestTimeout)
	defer cancel()
	created, err := m.nodes.Create(requestCtx, object)
	var refused *node.CreateError
	if errors.As(err, &refused) && refused.Cause == node.QuotaNeedsResources {
		n.Detail("%s: requesting --cpu %s and --memory %s", err, m.options.CPU, m.options.Memory)
		if object, err = node.WithResources(object, m.options.CPU, m.options.Memory); err == nil {
			created, err = m.nodes.Create(requestCtx, object)
		}
	}
	if err != nil {
		p.removeUnconfirmed(object, err)
		return nil, m.explainCreate(ctx, err)
	}
	p.object = created
	p.unregister = m.env.Cleanup.Register(p.Remove)
	n.Detail("pod %s was created on node %s, image %s", created.Name, o.Node, o.Image)
	return p, nil
}

// confirmDelay is how long removeUnconfirmed waits between its two requests for
// the pod.
const confirmDelay = 500 * time.Millisecond

// removeUnconfirmed deletes a pod that may have been created although Create
// returned err. It warns if the pod may still exist.
func (p *Pod) removeUnconfirmed(object *corev1.Pod, err error) {
	var refused *node.CreateError
	if !errors.As(err, &refused) || refused.Rejected() || refused.NotSent() {
		return
	}
	ctx, cancel := p.manager.env.Cleanup.Context()
	defer cancel()
	client := p.manager.nodes
	found, err := client.Get(ctx, object.Namespace, object.Name)
	notFound := func() bool { return apiclient.IsNotFound(err, "pods", object.Name) }
	if notFound() && !refused.ServerFailed() && sleep(ctx, confirmDelay) { // it may still be created
		found, err = client.Get(ctx, object.Namespace, object.Name)
	}
	if err == nil { // the name is random, so no other pod has it
		err = client.Remove(ctx, found)
	}
	switch {
	case err == nil:
		p.notice.Detail("pod %s was deleted", object.Name)
	case notFound() && refused.ServerFailed():
		p.notice.Detail("pod %s was not created", object.Name)
	default:
		limit := p.options.HeartbeatTimeout
		if p.options.Detached {
			limit = p.options.TTL
		}
		p.notice.WarnAlways("pod %s may have been created in namespace %s: the server did not answer; "+
			"if so, it ends after %v", object.Name, object.Namespace, limit)
		p.notice.Hint("type `kubectl delete pod %s -n %s --ignore-not-found`", object.Name, object.Namespace)
	}
}

// sleep waits for d or until ctx ends. It returns false if ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// explainCreate returns err, in two cases with another hint. If the user is not
// allowed to create pods, the hint contains a command that grants this right.
// If Pod Security refused the pod and the namespaces can be listed, the hint
// also names namespaces that may allow such a pod, or states that there are
// none.
func (m *Manager) explainCreate(ctx context.Context, err error) error {
	var refused *node.CreateError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Cause {
	case node.PodSecurity:
	case node.NoPermission:
		namespace := refused.Pod.Namespace
		denied := []pod.Rule{{Verb: "create", Resource: "pods"}}
		return notice.WithHint(err, (&pod.ForbiddenError{Namespace: namespace, Denied: denied, Err: refused.Err}).Hint())
	default:
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.env.Limits.Rights)
	defer cancel()
	labeled, unlabeled, listErr := m.nodes.PrivilegedNamespaces(ctx)
	hint := refused.Hint()
	switch {
	case listErr != nil:
		m.env.Notice.Detail("the namespaces that allow it are not known: %s", listErr)
	case len(labeled) > 0:
		hint = "use another namespace with -n; these allow it: " + joinSome(labeled) + "\n" + hint
	case len(unlabeled) > 0:
		hint = "use another namespace with -n; these have no Pod Security label: " +
			joinSome(unlabeled) + "\n" + hint
	default:
		hint = "no namespace of this cluster allows it\n" + hint
	}
	return notice.WithHint(notice.WithMessage(err, err.Error()), hint)
}

// joinSome joins the first six names.
func joinSome(names []string) string {
	const most = 6
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
