package sandbox

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

const (
	admin     = "admin"
	anonymous = "system:anonymous"

	// bearerProtocolPrefix begins a subprotocol that contains a token, for
	// clients that cannot set headers.
	bearerProtocolPrefix = "base64url.bearer.authorization.k8s.io." //nolint:gosec // a name, not a secret
)

// user is a user with a token.
type user struct {
	name  string
	token string
}

func newUsers() []user {
	var users []user
	for _, name := range []string{admin, "none", "get-only", "create-only", "exec-only"} {
		users = append(users, user{name, randomName(32)})
	}
	return users
}

// Token returns the bearer token of a user, or "" if there is no such user. The
// users are:
//
//	admin        everything
//	none         nothing
//	get-only     get, list and watch everything, including pods/exec and pods/attach; no create
//	create-only  get, list and watch everything except pods/exec and pods/attach; create these two
//	exec-only    get and create pods/exec and pods/attach; nothing on pods
func (s *Server) Token(name string) string {
	for _, u := range s.users {
		if u.name == name {
			return u.token
		}
	}
	return ""
}

// authenticate returns the name of the caller, or a 401 error. Like the real
// server, it removes a token that was sent as a subprotocol from the offered
// subprotocols.
func (s *Server) authenticate(r *http.Request) (string, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		var err error
		if token, err = bearerFromProtocols(r.Header); err != nil {
			return "", err
		}
	}
	if token == "" {
		return anonymous, nil
	}
	for _, u := range s.users {
		if u.token != token {
			continue
		}
		if as := r.Header.Get("Impersonate-User"); as != "" && u.name == admin {
			return as, nil
		}
		return u.name, nil
	}
	return "", apierrors.NewUnauthorized("Unauthorized")
}

func bearerFromProtocols(h http.Header) (string, error) {
	var token string
	var rest []string
	for _, p := range offeredProtocols(h) {
		encoded, ok := strings.CutPrefix(p, bearerProtocolPrefix)
		if !ok {
			rest = append(rest, p)
			continue
		}
		data, err := base64.RawURLEncoding.DecodeString(encoded)
		if err != nil {
			return "", apierrors.NewUnauthorized("Unauthorized")
		}
		token = string(data)
	}
	if token == "" {
		return "", nil
	}
	if len(rest) == 0 {
		return "", apierrors.NewUnauthorized("Unauthorized")
	}
	h.Set(wsstream.WebSocketProtocolHeader, strings.Join(rest, ","))
	return token, nil
}

// allowed reports whether a user has a right. The resource includes the
// subresource, as in pods/exec.
func allowed(name, verb, resource string) bool {
	streaming := resource == "pods/exec" || resource == "pods/attach"
	reading := verb == "get" || verb == "list" || verb == "watch"
	switch name {
	case admin:
		return true
	case "get-only":
		return reading
	case "create-only":
		return streaming && verb == "create" || !streaming && reading
	case "exec-only":
		return streaming && (verb == "create" || verb == "get")
	default:
		return false
	}
}

// authorize returns the real server's 403 error if the user does not have the
// right.
func authorize(name, verb string, q request) error {
	resource := q.resource
	if q.subresource != "" {
		resource += "/" + q.subresource
	}
	if allowed(name, verb, resource) {
		return nil
	}
	scope := "at the cluster scope"
	if q.namespace != "" {
		scope = fmt.Sprintf("in the namespace %q", q.namespace)
	}
	reason := fmt.Sprintf("User %q cannot %s resource %q in API group %q %s", name, verb, resource, q.group, scope)
	return apierrors.NewForbidden(schema.GroupResource{Group: q.group, Resource: q.resource}, q.name, errors.New(reason))
}

// authorizeUpgrade is called for an exec or attach with GET, after authorize.
// It also requires the right to create, as servers do since Kubernetes 1.35. As
// on a real server, the error contains no reason.
func authorizeUpgrade(name string, q request) error {
	if allowed(name, "create", q.resource+"/"+q.subresource) {
		return nil
	}
	return apierrors.NewForbidden(schema.GroupResource{Resource: q.resource}, q.name, errors.New(""))
}

// randomName returns n random characters that are valid in the name of a pod.
func randomName(n int) string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}
