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
		"apiVersion": q.APIVersion, "kind": q.Kind, "status": map[string]any{"allowed": slices.Contains(c.allowed, thing)},
	})), nil
}

func deniedRules(t *testing.T, c *reviewServer, wanted ...Rule) ([]Rule, error) {
	t.Helper()
	c.t = t
	client, err := NewClient(&rest.Config{Host: "http://server", Transport: c}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return client.DeniedRules(t.Context(), "shop", wanted...)
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
	var refused *RequestError
	if got, err := deniedRules(t, &reviewServer{broken: true}, get); got != nil || !errors.As(err, &refused) {
		t.Errorf("server without reviews: got %v, %v", got, err)
	}
}

func TestRoleRules(t *testing.T) {
	tests := []struct {
		rules []Rule
		want  string
	}{
		{ExecRules(), `- {apiGroups: [""], resources: ["pods/exec"], verbs: ["get", "create"]}`},
		{ExecRules()[1:], `- {apiGroups: [""], resources: ["pods/exec"], verbs: ["create"]}`},
		{
			[]Rule{
				{Verb: "get", Resource: "pods"},
				{Verb: "get", Group: "apps", Resource: "deployments", Name: "web"},
				{Verb: "list", Resource: "pods"},
				{Verb: "get", Resource: "pods"},
			},
			`- {apiGroups: [""], resources: ["pods"], verbs: ["get", "list"]}` + "\n" +
				`- {apiGroups: ["apps"], resources: ["deployments"], resourceNames: ["web"], verbs: ["get"]}`,
		},
		{nil, ""},
	}
	for _, test := range tests {
		if got := roleRules(test.rules); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

func TestForbiddenError(t *testing.T) {
	refusal := errors.New("403")
	err := error(
		&ForbiddenError{
			Namespace: "shop",
			Denied:    append(ExecRules(), Rule{Verb: "get", Group: "apps", Resource: "deployments", Name: "web"}),
			Err:       refusal,
		},
	)
	text := `not allowed in namespace "shop": ` +
		`get on pods/exec and create on pods/exec and get on deployments.apps "web"`
	if err.Error() != text {
		t.Errorf("got  %s\nwant %s", err, text)
	}
	var hinting interface{ Hint() string }
	want := `ask for a role in namespace "shop" with the rule ` +
		`{apiGroups: [""], resources: ["pods/exec"], verbs: ["get", "create"]}` +
		` and {apiGroups: ["apps"], resources: ["deployments"], resourceNames: ["web"], verbs: ["get"]}`
	if !errors.As(err, &hinting) || hinting.Hint() != want {
		t.Errorf("hint %s\nwant %s", hinting.Hint(), want)
	}
	if !errors.Is(err, refusal) {
		t.Error("the error does not wrap the refusal")
	}
}
