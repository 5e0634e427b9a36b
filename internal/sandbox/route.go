package sandbox

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// request is a parsed API path.
type request struct {
	group, namespace, resource, name, subresource string
	query                                         url.Values
}

func (q request) key() types.NamespacedName {
	return types.NamespacedName{Namespace: q.namespace, Name: q.name}
}

// parsePath parses /api/v1/... and /apis/GROUP/v1/...
func parsePath(r *http.Request) (request, bool) {
	q := request{query: r.URL.Query()}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api" && parts[1] == "v1":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis" && parts[2] == "v1":
		q.group = parts[1]
		parts = parts[3:]
	default:
		return q, false
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		q.namespace = parts[1]
		parts = parts[2:]
	}
	for i, p := range parts {
		switch i {
		case 0:
			q.resource = p
		case 1:
			q.name = p
		case 2:
			q.subresource = p
		default:
			return q, false
		}
	}
	return q, true
}

// isTrue parses a boolean as the API server does: absent, 0 and false are
// false, anything else is true.
func (q request) isTrue(name string) bool {
	v, ok := q.query[name]
	return ok && v[0] != "0" && !strings.EqualFold(v[0], "false")
}

// verb returns the request's verb, in the terms of RBAC.
func (q request) verb(r *http.Request) string {
	switch {
	case r.Method == http.MethodDelete:
		return "delete"
	case r.Method == http.MethodPost:
		return "create"
	case r.Method != http.MethodGet:
		return strings.ToLower(r.Method)
	case q.subresource != "":
		return "get"
	case q.isTrue("watch"):
		return "watch"
	case q.name == "":
		return "list"
	default:
		return "get"
	}
}

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	s.records.request()
	s.steps.Load().arrive(r.Context(), r.Method+" "+r.URL.Path)
	f := s.faults.take(r)
	if f.atRequest(s, w, r) {
		return
	}
	name, err := s.authenticate(r)
	if err != nil {
		writeError(w, err)
		return
	}
	path := "/" + strings.Trim(r.URL.Path, "/")
	if r.Method == http.MethodGet && serveDiscovery(w, path) {
		return
	}
	q, ok := parsePath(r)
	switch {
	case ok:
	case strings.HasPrefix(path, "/api/v1/"), strings.HasPrefix(path, "/apis/"):
		writeError(w, errNoSuchPath())
		return
	default:
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodPost && q.group == "authorization.k8s.io" && s.answersReviews() {
		serveReview(w, r, name)
		return
	}
	if r.Method == http.MethodPost && q.group == "authentication.k8s.io" && s.answersReviews() {
		serveSelfReview(w, name)
		return
	}
	if err := authorize(name, q.verb(r), q); err != nil {
		writeError(w, err)
		return
	}
	if err := s.serveAPI(w, r, call{request: q, user: name, fault: f}); err != nil {
		writeError(w, err)
	}
}

// call is one authorized request.
type call struct {
	request
	user  string
	fault *active
}

// serveAPI serves an authorized request. If it returns an error, it has not
// written an answer.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, c call) error {
	res, ok := lookUp(c.group, c.resource)
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Group: c.group, Resource: c.resource}, c.name)
	}
	if c.subresource != "" {
		return s.serveSubresource(w, r, c)
	}
	switch {
	case r.Method == http.MethodGet && c.isTrue("watch"):
		return s.serveWatch(w, r, c, res)
	case r.Method == http.MethodGet && c.name == "":
		return s.serveList(w, r, c, res)
	case r.Method == http.MethodGet:
		return s.serveGet(w, r, c, res)
	case r.Method == http.MethodPost && c.resource == "pods" && c.name == "":
		return s.serveCreate(w, r, c)
	case r.Method == http.MethodDelete && c.resource == "pods" && c.name != "":
		return s.serveDelete(w, r, c)
	default:
		return apierrors.NewMethodNotSupported(schema.GroupResource{Group: c.group, Resource: c.resource}, c.verb(r))
	}
}

func (s *Server) serveSubresource(w http.ResponseWriter, r *http.Request, c call) error {
	switch {
	case c.resource != "pods":
	case c.subresource == "log" && r.Method == http.MethodGet:
		return s.serveLog(w, r, c)
	case c.subresource == "exec" || c.subresource == "attach":
		s.records.command()
		if r.Method != http.MethodGet && r.Method != http.MethodPost {
			break
		}
		return s.serveStream(w, r, c)
	}
	return apierrors.NewMethodNotSupported(
		schema.GroupResource{Group: c.group, Resource: c.resource + "/" + c.subresource},
		r.Method,
	)
}

// errNoSuchPath is the answer to an unknown path below an API group, such as
// /api/v1/api/v1/pods: a NotFound Status with empty details.
func errNoSuchPath() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
		Message: "the server could not find the requested resource", Details: &metav1.StatusDetails{},
	}}
}

func offeredProtocols(h http.Header) []string {
	var names []string
	for _, line := range h.Values(wsstream.WebSocketProtocolHeader) {
		for p := range strings.SplitSeq(line, ",") {
			if p = strings.TrimSpace(p); p != "" {
				names = append(names, p)
			}
		}
	}
	return names
}

func errNotScheduled(pod string) error {
	return apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod))
}
