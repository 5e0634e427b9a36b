package node

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kshell/internal/apiclient"
)

// enforceLabel is the label of a namespace with the Pod Security level that is
// enforced.
const enforceLabel = "pod-security.kubernetes.io/enforce"

// Cause is the reason why a pod was refused.
type Cause int

// The causes that can be told apart.
const (
	Other               Cause = iota
	PodSecurity               // the namespace's level does not allow such pods
	QuotaNeedsResources       // a quota requires the pod to set requests (see WithResources)
	QuotaExceeded             // a quota is used up
	AdmissionDenied           // an admission webhook, or a policy
	NoPermission              // RBAC
	NoNamespace
)

// CreateError means that a pod could not be created.
type CreateError struct {
	Pod     *corev1.Pod
	Cause   Cause
	Level   string // PodSecurity: restricted, baseline
	Message string // the server's, as far as they are news
	Err     error
}

// Patterns of messages of the API server (k8s.io/pod-security-admission,
// admission.go; the plugins ResourceQuota and webhook).
var (
	violation = regexp.MustCompile(`violates PodSecurity "([a-z]+):[^"]*": (.*)$`)
	forbids   = regexp.MustCompile(`^pods "[^"]*" is forbidden: `)
	hook      = regexp.MustCompile(`^admission webhook "[^"]*" denied the request`)
	policy    = regexp.MustCompile(`ValidatingAdmissionPolicy '[^']*' with binding '[^']*' denied request: `)
)

func newCreateError(p *corev1.Pod, err error) *CreateError {
	e := &CreateError{Pod: p, Err: err, Message: err.Error()}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		var u *url.Error
		if errors.As(err, &u) {
			e.Message = u.Err.Error()
		}
		return e
	}
	message := forbids.ReplaceAllString(status.Status().Message, "")
	e.Message = message
	switch found := violation.FindStringSubmatch(message); {
	case found != nil:
		e.Cause, e.Level, e.Message = PodSecurity, found[1], found[2]
	case strings.Contains(message, "failed quota") && strings.Contains(message, "must specify"):
		e.Cause = QuotaNeedsResources
	case strings.Contains(message, "exceeded quota"):
		e.Cause = QuotaExceeded
	case hook.MatchString(message), policy.MatchString(message):
		e.Cause = AdmissionDenied
	case apierrors.IsForbidden(err) && strings.Contains(message, " cannot create resource"):
		e.Cause = NoPermission
	case apiclient.IsNotFound(err, "namespaces", p.Namespace):
		e.Cause = NoNamespace
	}
	return e
}

func (e *CreateError) Error() string {
	switch ns := e.Pod.Namespace; e.Cause {
	case PodSecurity:
		return fmt.Sprintf("namespace %q enforces the Pod Security level %q, which does not allow what a shell on a node needs: %s", ns, e.Level, e.Message)
	case QuotaNeedsResources, QuotaExceeded:
		return fmt.Sprintf("a quota of namespace %q refuses the pod: %s", ns, e.Message)
	case AdmissionDenied:
		return fmt.Sprintf("a policy of the cluster refuses the pod: %s", e.Message)
	case NoNamespace:
		return fmt.Sprintf("there is no namespace %q", ns)
	}
	return fmt.Sprintf("cannot create a pod in namespace %q: %s", e.Pod.Namespace, e.Message)
}

// Hint says what to do.
func (e *CreateError) Hint() string {
	switch ns := e.Pod.Namespace; e.Cause {
	case PodSecurity:
		return fmt.Sprintf("kubectl label namespace %s %s=privileged --overwrite would allow it, for all pods there", ns, enforceLabel)
	case QuotaNeedsResources, QuotaExceeded:
		return "--cpu and --memory say what the pod asks for; -n takes another namespace"
	case NoNamespace:
		return "kubectl get namespaces shows those there are"
	case Other:
		if apiclient.IsForeign(e.Err, "pods", "") {
			return notKubernetes
		}
	}
	return ""
}

// Unwrap gives the API's error.
func (e *CreateError) Unwrap() error { return e.Err }

// Rejected reports whether the server refused the request (4xx): there is no
// pod.
func (e *CreateError) Rejected() bool {
	var status apierrors.APIStatus
	return errors.As(e.Err, &status) && status.Status().Code < 500
}

// ServerFailed reports whether the server, or a gateway in front of it, answered with
// an error of its own (5xx): there may be a pod.
func (e *CreateError) ServerFailed() bool {
	var status apierrors.APIStatus
	return errors.As(e.Err, &status) && status.Status().Code >= 500
}

// NotSent reports whether no connection could be made: there is no pod.
func (e *CreateError) NotSent() bool {
	var op *net.OpError
	return errors.As(e.Err, &op) && op.Op == "dial"
}
