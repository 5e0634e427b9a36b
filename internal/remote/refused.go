package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/script"
	"kshell/internal/stream"
)

// explainRefused explains, with further requests, why a command was not
// started: a right is missing, the container has ended, or the kubelet has no
// certificate. It returns err itself if err has another reason.
func (c *Command) explainRefused(ctx context.Context, err error) error {
	var remote *stream.RemoteError
	switch class := stream.RefusalOf(err); {
	case class == stream.RefusalNotRunning, errors.As(err, &remote) && remote.NotRunning():
		return outcome.ContextCause(ctx, c.explainNotRunning(ctx, err))
	case class == stream.RefusalNoCertificate:
		return outcome.ContextCause(ctx, c.explainNoCertificate(ctx, err))
	}
	return c.explainForbidden(ctx, err)
}

// explainNotRunning returns err with a message about how the container has
// ended. The container was running when it was found, so it has ended only
// recently, and the kubelet may not have updated the pod's status yet. If the
// status does not show the end within Limits.Reason, explainNotRunning returns
// err itself.
func (c *Command) explainNotRunning(ctx context.Context, err error) error {
	t := c.Target()
	found := t.found()
	if found == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.limits.Reason)
	defer cancel()
	pods := c.cluster.BackgroundPods()
	for {
		sentence, ended, requestErr := pods.DescribeChange(ctx, found)
		switch {
		case requestErr != nil && ctx.Err() == nil:
			c.env.Notice.Detail("it is not known how the container ended: %s", requestErr)
			return err
		case ended:
			_, stopped := pods.Find(ctx, pod.Request{
				Namespace: t.Namespace, Target: pod.Target{Kind: "pod", Name: t.Pod}, Container: t.Container,
			})
			err = notice.WithMessage(err, sentence+", so the command was not run")
			if hint := notice.HintOf(stopped); hint != "" {
				return notice.WithHint(err, hint)
			}
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(statusInterval):
		}
	}
}

// explainNoCertificate returns err with a message that names the node whose
// kubelet has no certificate, and a hint that names the certificate signing
// request, if the user is allowed to list the requests.
func (c *Command) explainNoCertificate(ctx context.Context, err error) error {
	node := c.Target().Node()
	name := "the pod's node"
	if node != "" {
		name = fmt.Sprintf("node %q", node)
	}
	err = notice.WithMessage(err, fmt.Sprintf("the kubelet of %s has no certificate, "+
		"so the API server cannot connect to it (remote error: tls: internal error)", name))
	const generic = "an administrator must approve the request: `kubectl get csr` lists the requests, " +
		"`kubectl certificate approve CSR` approves one"
	if node == "" {
		return notice.WithHint(err, generic)
	}
	ctx, cancel := context.WithTimeout(ctx, c.limits.Rights)
	defer cancel()
	request, requestErr := c.cluster.BackgroundPods().PendingServingRequest(ctx, node)
	switch {
	case requestErr != nil:
		c.env.Notice.Detail("the certificate signing request is not known: %s", requestErr)
		return notice.WithHint(err, generic)
	case request == "":
		return notice.WithHint(err, "no certificate signing request of the node is pending: see the log of its kubelet")
	}
	return notice.WithHint(err, fmt.Sprintf(
		"an administrator must approve the request: `kubectl certificate approve %s`", script.Quote(request)))
}
