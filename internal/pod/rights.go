package pod

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Rule is a permission that a role can grant: one verb on one resource.
type Rule struct {
	Verb        string // "get", "create"
	Group       string // API group; "" is the core group
	Resource    string // plural: "pods"
	Subresource string // "exec", or ""
	Name        string // of the object; "" means any object
}

// ExecRules returns the permissions that exec over a WebSocket needs: get and
// create on pods/exec. The request that opens a WebSocket is a GET, so servers
// before Kubernetes 1.35 require only get. Newer servers also require create.
func ExecRules() []Rule {
	return []Rule{
		{Verb: "get", Resource: "pods", Subresource: "exec"},
		{Verb: "create", Resource: "pods", Subresource: "exec"},
	}
}

// String returns the rule for users: "create on pods/exec".
func (r Rule) String() string {
	text := r.Verb + " on " + r.resource()
	if r.Group != "" {
		text += "." + r.Group
	}
	if r.Name != "" {
		text += fmt.Sprintf(" %q", r.Name)
	}
	return text
}

func (r Rule) resource() string {
	if r.Subresource == "" {
		return r.Resource
	}
	return r.Resource + "/" + r.Subresource
}

// roleRules returns the rules of a role (rbac/v1 PolicyRule) that grants the
// permissions, in YAML, one line per resource:
// `- {apiGroups: [""], resources: ["pods/exec"], verbs: ["get", "create"]}`.
func roleRules(rules []Rule) string {
	var objects []Rule // the rules without their verbs
	verbs := map[Rule][]string{}
	for _, rule := range rules {
		verb := fmt.Sprintf("%q", rule.Verb)
		rule.Verb = ""
		if verbs[rule] == nil {
			objects = append(objects, rule)
		}
		if !slices.Contains(verbs[rule], verb) {
			verbs[rule] = append(verbs[rule], verb)
		}
	}
	lines := make([]string, 0, len(objects))
	for _, o := range objects {
		names := ""
		if o.Name != "" {
			names = fmt.Sprintf("resourceNames: [%q], ", o.Name)
		}
		lines = append(lines, fmt.Sprintf("- {apiGroups: [%q], resources: [%q], %sverbs: [%s]}",
			o.Group, o.resource(), names, strings.Join(verbs[o], ", ")))
	}
	return strings.Join(lines, "\n")
}

// accessReview is SelfSubjectAccessReview of authorization/v1. The package of
// that type is not used because it would add the whole API group to the binary.
type accessReview struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Attributes resourceAttributes `json:"resourceAttributes"`
	} `json:"spec"`
	Status struct {
		Allowed bool `json:"allowed"`
	} `json:"status,omitzero"`
}

type resourceAttributes struct {
	Namespace   string `json:"namespace,omitempty"`
	Verb        string `json:"verb"`
	Group       string `json:"group,omitempty"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource,omitempty"`
	Name        string `json:"name,omitempty"`
}

// DeniedRules returns the rules that the user does not have in a namespace, in
// the order of the arguments. For each rule, it creates a
// SelfSubjectAccessReview, which every authenticated user is allowed to do.
// Every error is a *RequestError.
func (c *Client) DeniedRules(ctx context.Context, namespace string, rules ...Rule) ([]Rule, error) {
	var denied []Rule
	for _, rule := range rules {
		allowed, err := c.allowed(ctx, namespace, rule)
		if err != nil {
			return nil, &RequestError{
				Verb: "create", Resource: "selfsubjectaccessreviews", Namespace: namespace, Server: c.server, Err: err,
			}
		}
		if !allowed {
			denied = append(denied, rule)
		}
	}
	return denied, nil
}

func (c *Client) allowed(ctx context.Context, namespace string, rule Rule) (bool, error) {
	review := accessReview{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"}
	review.Spec.Attributes = resourceAttributes{
		Namespace: namespace, Verb: rule.Verb, Group: rule.Group,
		Resource: rule.Resource, Subresource: rule.Subresource, Name: rule.Name,
	}
	body, err := json.Marshal(review)
	if err != nil {
		return false, err
	}
	response, err := c.groups[""].Post().AbsPath("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").
		SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").Body(body).Do(ctx).Raw()
	if err != nil {
		return false, err
	}
	var answer accessReview
	if err := json.Unmarshal(response, &answer); err != nil {
		return false, fmt.Errorf("cannot decode the answer: %w", err)
	}
	return answer.Status.Allowed, nil
}

// ForbiddenError means that the server denied a request (403). It lists the
// permissions that the user lacks.
type ForbiddenError struct {
	Namespace string
	Denied    []Rule // from DeniedRules; not empty
	Err       error  // the error of the denied request
}

// Error returns the namespace and the denied rules.
func (e *ForbiddenError) Error() string {
	rules := make([]string, 0, len(e.Denied))
	for _, rule := range e.Denied {
		rules = append(rules, rule.String())
	}
	return fmt.Sprintf("not allowed in namespace %q: %s", e.Namespace, strings.Join(rules, " and "))
}

// Hint returns the rules that a role must contain.
func (e *ForbiddenError) Hint() string {
	return fmt.Sprintf("ask for a role in namespace %q with the rule %s", e.Namespace,
		strings.ReplaceAll(strings.ReplaceAll(roleRules(e.Denied), "- {", "{"), "\n", " and "))
}

// Unwrap returns the error of the denied request.
func (e *ForbiddenError) Unwrap() error { return e.Err }
