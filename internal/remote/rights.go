package remote

import (
	"context"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kshell/internal/apiclient"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

// ExplainForbidden explains the refusal (403) of a request for pods, or for an
// object that has pods, such as a Deployment. It returns an error that names
// the rights which the user lacks to run a command. It returns err itself if
// err is another error, or if the missing rights cannot be determined.
func ExplainForbidden(ctx context.Context, env Env, c *Cluster, err error) error {
	var refused *pod.RequestError
	if !errors.As(err, &refused) || !apiclient.IsDenied(refused.Err) {
		return err
	}
	rules := []pod.Rule{{Verb: refused.Verb, Group: groupOf(refused.Err), Resource: refused.Resource}}
	if refused.Resource != "pods" { // the next request would be for the pods of the resource
		rules = append(rules, pod.Rule{Verb: "list", Resource: "pods"})
	}
	return explainDenied(ctx, env, c.Pods(), Target{Namespace: refused.Namespace}, err, append(rules, pod.ExecRules()...))
}

// groupOf returns the API group of the resource of a refused request.
func groupOf(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		return status.Status().Details.Group
	}
	return ""
}

// explainForbidden explains the refusal (403) of an exec. It returns an error
// that names the rights which the user lacks. It returns err itself if err is
// another error, or if the missing rights cannot be determined.
func (c *Command) explainForbidden(ctx context.Context, err error) error {
	var refused *stream.HandshakeError
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusForbidden || refused.Status == nil ||
		refused.Err != nil || apiclient.IsAnonymous(refused.Status.Message) {
		return err
	}
	return outcome.ContextCause(ctx, explainDenied(ctx, c.env, c.cluster.Pods(), c.Target(), err, pod.ExecRules()))
}

// explainDenied asks the server which of the rights in rules the user lacks:
// for the pod of t or, if t names no pod, in the whole namespace. It returns an
// error that names the missing rights. If no right is known to be missing, it
// returns the error refusal, perhaps with a hint.
func explainDenied(ctx context.Context, env Env, client *pod.Client, t Target, refusal error, rules []pod.Rule) error {
	ctx, cancel := context.WithTimeout(ctx, env.Limits.withDefaults().Rights)
	defer cancel()
	for i := range rules {
		rules[i].Name = t.Pod
	}
	denied, incomplete, err := client.DeniedRules(ctx, t.Namespace, rules...)
	switch {
	case err != nil:
		env.Notice.Detail("the missing rights are not known: %s", err)
		return refusal
	case len(denied) == 0:
		return notice.WithHint(refusal, "your roles allow this: something else denies it, "+
			"such as an admission policy or another authorizer of the cluster")
	}
	for i := range denied {
		denied[i].Name = "" // a role for one pod is useless after the pod is replaced
	}
	env.Notice.Detail("%s", refusal)
	if incomplete != "" {
		env.Notice.Detail("the server could not review all rules: %s", incomplete)
	}
	return &pod.ForbiddenError{Namespace: t.Namespace, Denied: denied, Incomplete: incomplete, Err: refusal}
}
