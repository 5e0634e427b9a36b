package node

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCreateError(t *testing.T) {
	const violations = `host namespaces (hostNetwork=true, hostPID=true), ` +
		`privileged (container "shell" must not set securityContext.privileged=true)`
	forbidden := func(message string) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: message,
		}}
	}
	for name, c := range map[string]struct {
		err        error
		cause      Cause
		text, hint string
	}{
		"Pod Security": {
			forbidden(`pods "x" is forbidden: violates PodSecurity "restricted:latest": ` + violations), PodSecurity,
			`namespace "ops" enforces the Pod Security level "restricted", which does not allow what a shell on a node needs: ` +
				violations,
			"`kubectl label namespace ops pod-security.kubernetes.io/enforce=privileged --overwrite` would allow it, " +
				"for all pods in the namespace",
		},
		"quota without requests": {
			forbidden(`pods "x" is forbidden: failed quota: q: must specify cpu for: shell; memory for: shell`),
			QuotaNeedsResources,
			`a quota of namespace "ops" refuses the pod: failed quota: q: must specify cpu for: shell; memory for: shell`,
			"--cpu and --memory set the resources that the pod requests; -n selects another namespace",
		},
		"quota is used up": {
			forbidden(`pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5`),
			QuotaExceeded,
			`a quota of namespace "ops" refuses the pod: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5`,
			"--cpu and --memory set the resources that the pod requests; -n selects another namespace",
		},
		"a webhook": {
			forbidden(`admission webhook "validate.kyverno.svc" denied the request: no privileged pods`), AdmissionDenied,
			`a policy of the cluster refuses the pod: ` +
				`admission webhook "validate.kyverno.svc" denied the request: no privileged pods`, "",
		},
		"a policy": {
			forbidden(`pods "x" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no`),
			AdmissionDenied,
			`a policy of the cluster refuses the pod: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no`, "",
		},
		"no right": {
			forbidden(`pods is forbidden: User "u" cannot create resource "pods" in API group "" in the namespace "ops"`),
			NoPermission,
			`cannot create a pod in namespace "ops": pods is forbidden: ` +
				`User "u" cannot create resource "pods" in API group "" in the namespace "ops"`, "",
		},
		"no namespace": {
			apierrors.NewNotFound(metav1.SchemeGroupVersion.WithResource("namespaces").GroupResource(), "ops"), NoNamespace,
			`there is no namespace "ops"`, "`kubectl get namespaces` lists the namespaces",
		},
		"no server": {
			&url.Error{Op: "Post", URL: "https://x/api?y=z", Err: errors.New("connection refused")}, Other,
			`cannot create a pod in namespace "ops": connection refused`, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newCreateError(Pod(testOptions()), c.err)
			if e.Cause != c.cause || e.Error() != c.text || e.Hint() != c.hint || !errors.Is(e, c.err) {
				t.Errorf("cause %d\n%s\n%s", e.Cause, e, e.Hint())
			}
		})
	}
}
