package pod

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// reviewServer answers access reviews. Each entry of allowed is "VERB
// GROUP/RESOURCE/SUBRESOURCE/NAME in NAMESPACE".
type reviewServer struct {
	t       *testing.T
	allowed []string
	broken  bool
	problem string // evaluationError of each answer
}

func (c *reviewServer) RoundTrip(r *http.Request) (*http.Response, error) {
	var q struct {
		APIVersion string
		Kind       string
		Spec       struct {
			ResourceAttributes struct{ Namespace, Verb, Group, Resource, Subresource, Name string }
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		c.t.Error(err)
	}
	if r.Method+" "+r.URL.String() != "POST http://server/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" ||
		q.APIVersion != "authorization.k8s.io/v1" || q.Kind != "SelfSubjectAccessReview" ||
		r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Accept") != "application/json" {
		c.t.Errorf("unexpected request %s %s with %s %s", r.Method, r.URL, q.APIVersion, q.Kind)
	}
	if c.broken {
		return response(
			r,
			http.StatusForbidden,
			body(errorStatus(403, metav1.StatusReasonForbidden, "no reviews")),
		), nil
	}
	a := q.Spec.ResourceAttributes
	thing := a.Verb + " " + a.Group + "/" + a.Resource + "/" + a.Subresource + "/" + a.Name + " in " + a.Namespace
	return response(r, http.StatusCreated, body(map[string]any{
		"apiVersion": q.APIVersion, "kind": q.Kind, "status": map[string]any{
			"allowed": slices.Contains(c.allowed, thing), "evaluationError": c.problem,
		},
	})), nil
}

func deniedRules(t *testing.T, c *reviewServer, wanted ...Rule) ([]Rule, error) {
	t.Helper()
	c.t = t
	client, err := NewClient(&rest.Config{Host: "http://server", Transport: c}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	denied, incomplete, err := client.DeniedRules(t.Context(), "shop", wanted...)
	if err == nil && len(denied) > 0 && incomplete != c.problem {
		t.Errorf("incomplete: %q, want %q", incomplete, c.problem)
	}
	return denied, err
}

func TestDeniedRules(t *testing.T) {
	get, create := ExecRules()[0], ExecRules()[1]
	scale := Rule{Verb: "update", Group: "apps", Resource: "deployments", Subresource: "scale", Name: "web"}
	tests := []struct {
		name         string
		allowed      []string
		wanted, want []Rule
	}{
		{"none", nil, ExecRules(), []Rule{get, create}},
		{"only get", []string{"get /pods/exec/ in shop"}, ExecRules(), []Rule{create}},
		{"only create", []string{"create /pods/exec/ in shop"}, ExecRules(), []Rule{get}},
		{
			"elsewhere",
			[]string{"get /pods/exec/ in bank", "create /pods/exec/ in bank"},
			ExecRules(),
			[]Rule{get, create},
		},
		{"all", []string{"get /pods/exec/ in shop", "create /pods/exec/ in shop"}, ExecRules(), nil},
		{"group and name", []string{"update apps/deployments/scale/web in shop"}, []Rule{scale, get}, []Rule{get}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := deniedRules(t, &reviewServer{allowed: test.allowed}, test.wanted...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	unsure := &reviewServer{problem: `roles "dev" not found`}
	if got, err := deniedRules(t, unsure, get); err != nil || len(got) != 1 {
		t.Errorf("incomplete review: got %v, %v", got, err)
	}
	var refused *RequestError
	if got, err := deniedRules(t, &reviewServer{broken: true}, get); got != nil || !errors.As(err, &refused) {
		t.Errorf("server without reviews: got %v, %v", got, err)
	}
}
