package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

// reviewing bounds the questions about rights, after a refusal.
var reviewing = 3 * time.Second

// unseen adds to a refusal to look (403) which rights are lacking, for exec in the end; err as it is where that cannot be known.
func (a *app) unseen(ctx context.Context, client *pod.Client, err error) error {
	var refused *pod.RequestError
	if !errors.As(err, &refused) || !apierrors.IsForbidden(refused.Err) {
		return err
	}
	wanted := []pod.Rule{{Verb: refused.Verb, Group: groupOf(refused.Err), Resource: refused.Resource}}
	if refused.Resource != "pods" { // whose pods come next
		wanted = append(wanted, pod.Rule{Verb: "list", Resource: "pods"})
	}
	return a.lacking(ctx, client, refused.Namespace, "", err, append(wanted, pod.ExecRules()...))
}

// groupOf is the API group of what a request was refused for.
func groupOf(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		return status.Status().Details.Group
	}
	return ""
}

// refused adds to a refused exec (403) which rights are lacking. Where that cannot be known, err says what it says.
func (j *job) refused(ctx context.Context, err error) error {
	var handshake *stream.HandshakeError
	if !errors.As(err, &handshake) || handshake.StatusCode != http.StatusForbidden || handshake.Status == nil {
		return err
	}
	client, unable := pod.NewClient(j.cfg)
	if unable != nil {
		return err
	}
	return outcome.ContextCause(ctx, j.lacking(ctx, client, j.at.namespace, j.at.pod, err, pod.ExecRules()))
}

// lacking asks the server which of the rights the user has not got, in a namespace or, if it is named, for a pod.
func (a *app) lacking(ctx context.Context, client *pod.Client, namespace, named string, refusal error, wanted []pod.Rule) error {
	ctx, cancel := context.WithTimeout(ctx, reviewing)
	defer cancel()
	for i := range wanted {
		wanted[i].Name = named
	}
	missing, err := client.DeniedRules(ctx, namespace, wanted...)
	switch {
	case err != nil:
		a.notice.Detail("which rights are lacking is not known: %s", err)
		return refusal
	case len(missing) == 0:
		return notice.WithHint(refusal, "your roles allow it: something else refuses, such as an admission policy or another authorizer of the cluster")
	}
	for i := range missing {
		missing[i].Name = "" // a role for one pod does not outlive it
	}
	a.notice.Detail("%s", refusal)
	return &pod.ForbiddenError{Namespace: namespace, Denied: missing, Err: refusal}
}
