package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kshell/internal/apiclient"
)

// enforceLabel is the label of a namespace whose value is the Pod Security
// level that the namespace enforces.
const enforceLabel = "pod-security.kubernetes.io/enforce"

// Cause is why a pod could not be created.
type Cause int

// The causes that CreateError distinguishes.
const (
	Other               Cause = iota
	PodSecurity               // the namespace's Pod Security level does not allow such pods
	QuotaNeedsResources       // a quota requires resource requests (see WithResources)
	QuotaExceeded             // a quota is used up
	AdmissionDenied           // an admission webhook or a policy denied the pod
	NoPermission              // the user has no right to create pods
	NoNamespace               // the namespace does not exist
)

// CreateError means that a pod could not be created.
type CreateError struct {
	Pod     *corev1.Pod
	Cause   Cause
	Level   string // the enforced level, restricted or baseline; set only for PodSecurity
	Message string // the server's message, without the parts that Error adds
	Err     error  // the API's error
}

// Patterns of messages of the API server. Sources: admission.go of
// k8s.io/pod-security-admission, and the admission plugins of the API server.
// Each is compiled when it is first used.
var (
	podSecurityPattern = lazyRegexp(`violates PodSecurity "([a-z]+):[^"]*": (.*)$`)
	forbiddenPattern   = lazyRegexp(`^pods "[^"]*" is forbidden: `)
	webhookPattern     = lazyRegexp(`^admission webhook "[^"]*" denied the request`)
	policyPattern      = lazyRegexp(`ValidatingAdmissionPolicy '[^']*' with binding '[^']*' denied request: `)
)

func lazyRegexp(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

func newCreateError(p *corev1.Pod, err error) *CreateError {
	e := &CreateError{Pod: p, Err: err, Message: apiclient.Plain(err).Error()}
	status, ok := apiclient.ServerStatus(err)
	if !ok {
		return e
	}
	message := forbiddenPattern().ReplaceAllString(status.Message, "")
	e.Message = message
	switch found := podSecurityPattern().FindStringSubmatch(message); {
	case found != nil:
		e.Cause, e.Level, e.Message = PodSecurity, found[1], found[2]
	case strings.Contains(message, "failed quota") && strings.Contains(message, "must specify"):
		e.Cause = QuotaNeedsResources
	case strings.Contains(message, "exceeded quota"):
		e.Cause = QuotaExceeded
	case webhookPattern().MatchString(message), policyPattern().MatchString(message):
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
		return fmt.Sprintf("namespace %q enforces the Pod Security level %q, "+
			"which does not allow what a shell on a node needs: %s", ns, e.Level, e.Message)
	case QuotaNeedsResources, QuotaExceeded:
		return fmt.Sprintf("a quota of namespace %q refuses the pod: %s", ns, e.Message)
	case AdmissionDenied:
		return fmt.Sprintf("a policy of the cluster refuses the pod: %s", e.Message)
	case NoNamespace:
		return fmt.Sprintf("there is no namespace %q", ns)
	}
	return fmt.Sprintf("cannot create a pod in namespace %q: %s", e.Pod.Namespace, e.Message)
}

// Hint tells the user what to do, or returns "".
func (e *CreateError) Hint() string {
	switch ns := e.Pod.Namespace; e.Cause {
	case PodSecurity:
		return fmt.Sprintf("`kubectl label namespace %s %s=privileged --overwrite` would allow it, "+
			"for all pods in the namespace", ns, enforceLabel)
	case QuotaNeedsResources, QuotaExceeded:
		return "--cpu and --memory set the resources that the pod requests; -n selects another namespace"
	case NoNamespace:
		return "`kubectl get namespaces` lists the namespaces"
	case Other:
		if hint := apiclient.Hint(e.Err); hint != "" {
			return hint
		}
		if apiclient.IsForeign(e.Err, "pods", "") {
			return notKubernetes
		}
	}
	return ""
}

// Unwrap returns the API's error.
func (e *CreateError) Unwrap() error { return e.Err }

// Rejected reports whether the server refused the request (4xx): no pod was
// created.
func (e *CreateError) Rejected() bool {
	code := statusCode(e.Err)
	return code != 0 && code < http.StatusInternalServerError
}

// ServerFailed reports whether the server, or a gateway in front of it, failed
// (5xx): the pod may have been created.
func (e *CreateError) ServerFailed() bool { return statusCode(e.Err) >= http.StatusInternalServerError }

// statusCode returns the HTTP status code of the answer that err describes, or
// 0 if there was none.
func statusCode(err error) int {
	var status apierrors.APIStatus
	if refusal := apiclient.AsRefusal(err); refusal != nil {
		return refusal.HTTPStatus()
	}
	if errors.As(err, &status) {
		return int(status.Status().Code)
	}
	return 0
}

// NotSent reports whether the request was not sent, because the connection to
// the server could not be opened or the server's certificate is not trusted: no
// pod was created.
func (e *CreateError) NotSent() bool {
	var op *net.OpError
	if errors.As(e.Err, &op) && slices.Contains([]string{"dial", "proxyconnect", "socks connect"}, op.Op) {
		return true
	}
	var untrusted *tls.CertificateVerificationError
	return errors.As(e.Err, &untrusted) || errors.Is(e.Err, http.ErrSchemeMismatch)
}
