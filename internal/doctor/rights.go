package doctor

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"kshell/internal/pod"
)

// findRules returns the rights that kshell needs to find a pod, and to notice that it
// ends.
func findRules() []pod.Rule {
	return []pod.Rule{
		{Verb: "get", Resource: "pods"}, {Verb: "list", Resource: "pods"}, {Verb: "watch", Resource: "pods"},
	}
}

// checkExecRights checks the rights without which no command can be run. A
// WebSocket needs get, and since Kubernetes 1.35 also create; SPDY needs create.
func checkExecRights(ctx context.Context, d *diagnosis) finding {
	f := d.rights(ctx, pod.ExecRules(), "run commands in pods")
	var missing *pod.ForbiddenError
	if f.status != Failed || !errors.As(f.err, &missing) || len(missing.Denied) != 1 {
		return f
	}
	switch missing.Denied[0].Verb {
	case "get":
		return f.as(Warning).with("without it, kshell uses SPDY instead of WebSockets")
	case "create":
		if d.isBefore(1, 35) {
			return f.as(Warning).with("servers since Kubernetes 1.35 need it, too")
		}
	}
	return f
}

// checkFindRights checks the rights to find a pod. Without them, commands can be
// run in a pod that the user names.
func checkFindRights(ctx context.Context, d *diagnosis) finding {
	f := d.rights(ctx, findRules(), "find pods and notice that a pod ends")
	if f.status != Failed {
		return f
	}
	return f.as(Warning).with("without them, exec needs the name of a pod, and does not report why it has ended")
}

// checkResumeRights reports the rights that a session of the session agent needs.
func checkResumeRights(context.Context, *diagnosis) finding {
	return passed("--resume needs only the rights of exec")
}

// checkNodeRights checks the rights that a node shell needs.
func checkNodeRights(ctx context.Context, d *diagnosis) finding {
	f := d.rights(ctx, d.NodeRights, "open node shells")
	switch f.status {
	case OK:
	case Failed:
		return f.as(Warning).with("without them, node-shell is not possible in this namespace")
	default:
		return f
	}
	nodes := d.rightsIn(ctx, "", []pod.Rule{{Verb: "get", Resource: "nodes"}, {Verb: "list", Resource: "nodes"}}, "")
	if nodes.status == Failed {
		return nodes.as(Warning).with("without them, node-shell needs the exact name of a node; no --all")
	}
	return f
}

// rights checks whether the user has rules in the namespace. purpose completes
// the sentence "you may ...".
func (d *diagnosis) rights(ctx context.Context, rules []pod.Rule, purpose string) finding {
	return d.rightsIn(ctx, d.conn.Namespace, rules, purpose)
}

func (d *diagnosis) rightsIn(ctx context.Context, namespace string, rules []pod.Rule, purpose string) finding {
	denied, incomplete, err := d.denied(ctx, namespace, rules)
	switch {
	case err != nil && isUnknown(err):
		return skipped("the server does not answer access reviews")
	case err != nil:
		return failure(ctx, err)
	case len(denied) == 0:
		return passed("you may %s (namespace %q)", purpose, namespace)
	}
	return failure(ctx, &pod.ForbiddenError{
		Namespace: namespace, Denied: denied, Incomplete: incomplete, User: d.user,
		Err: errors.New("the right is missing"),
	})
}

// denied returns the rules that the user does not have. It makes all requests at
// the same time.
func (d *diagnosis) denied(
	ctx context.Context, namespace string, rules []pod.Rule,
) (denied []pod.Rule, incomplete string, err error) {
	missing, reasons, errs := make([]bool, len(rules)), make([]string, len(rules)), make([]error, len(rules))
	var requests sync.WaitGroup
	for i, rule := range rules {
		requests.Go(func() {
			defer d.Env.Cleanup.OnPanic()
			found, reason, err := d.cluster.Pods().DeniedRules(ctx, namespace, rule)
			missing[i], reasons[i], errs[i] = len(found) > 0, reason, err
		})
	}
	requests.Wait()
	for i, rule := range rules {
		if missing[i] {
			denied = append(denied, rule)
		}
	}
	return denied, cmp.Or(reasons...), cmp.Or(errs...)
}
