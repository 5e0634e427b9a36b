package nodeshell

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"kshell/internal/pod"
)

// RequiredRules returns the rights that a node shell needs in its namespace.
// shell is false for a command; attach is true if the shell is running already.
func RequiredRules(shell, attach bool) []pod.Rule {
	rules := []pod.Rule{
		{Verb: "get", Resource: "pods"}, {Verb: "delete", Resource: "pods"}, {Verb: "watch", Resource: "pods"},
	}
	if !attach {
		rules = append([]pod.Rule{{Verb: "create", Resource: "pods"}}, rules...)
	}
	rules = append(rules, pod.ExecRules()...)
	if shell {
		rules = append(
			rules,
			pod.Rule{Verb: "get", Resource: "pods", Subresource: "attach"},
			pod.Rule{Verb: "create", Resource: "pods", Subresource: "attach"},
			pod.Rule{Verb: "get", Resource: "pods", Subresource: "log"},
		)
	}
	return rules
}

// CheckRights returns an error that names the rights that the user lacks. If
// the rights cannot be checked, it returns nil: the server will refuse what the
// user is not allowed to do. Only the first call sends requests.
func (m *Manager) CheckRights(ctx context.Context) error {
	m.checkOnce.Do(func() { m.forbidden = m.checkRights(ctx) })
	return m.forbidden
}

func (m *Manager) checkRights(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.env.Limits.Rights)
	defer cancel()
	namespace := m.options.Pod.Namespace
	rules := RequiredRules(m.options.Pod.Shell, m.options.Attach)
	denied, incomplete, errs := make([]bool, len(rules)), make([]string, len(rules)), make([]error, len(rules))
	var requests sync.WaitGroup
	for i, rule := range rules {
		requests.Go(func() {
			defer m.env.Cleanup.OnPanic()
			missing, reason, err := m.cluster.Pods().DeniedRules(ctx, namespace, rule)
			denied[i], incomplete[i], errs[i] = len(missing) > 0, reason, err
		})
	}
	requests.Wait()
	if err := cmp.Or(errs...); err != nil {
		m.env.Notice.Detail("your rights could not be checked: %s", err)
		return nil
	}
	var missing []pod.Rule
	for i, rule := range rules {
		if denied[i] {
			missing = append(missing, rule)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &pod.ForbiddenError{
		Namespace: namespace, Denied: missing, Incomplete: cmp.Or(incomplete...),
		Err: errors.New("a node shell needs these rights"),
	}
}
