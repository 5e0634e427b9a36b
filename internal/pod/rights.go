package pod

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Rule is one thing that a role can allow.
type Rule struct {
	Verb        string // "get", "create"
	Group       string // API group, "" being core
	Resource    string // plural: "pods"
	Subresource string // "exec", or ""
	Name        string // of the object, "" being any
}

// ExecRules are what exec over a WebSocket needs: create on pods/exec, and get,
// as which servers before 1.35 take the upgrade and which newer ones ask for as
// well.
func ExecRules() []Rule {
	return []Rule{
		{Verb: "get", Resource: "pods", Subresource: "exec"},
		{Verb: "create", Resource: "pods", Subresource: "exec"},
	}
}

// String is the rule as it is said: "create on pods/exec".
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

// Grant is the rules as they have to stand in a role (rbac/v1 PolicyRule), in
// YAML of one line each, joined by newlines:
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

// review is authorization/v1 SelfSubjectAccessReview: the types of its package
// would have to be linked with the whole group.
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

// Missing asks the server which of the rules the user lacks in a namespace, one
// request each (create selfsubjectaccessreviews, which everybody may who is
// logged in). The answer keeps their order, and is empty when all are allowed.
// Every error is a *RequestError; then nothing is known.
func (c *Client) DeniedRules(ctx context.Context, namespace string, wanted ...Rule) ([]Rule, error) {
	var missing []Rule
	for _, rule := range wanted {
		allowed, err := c.allowed(ctx, namespace, rule)
		if err != nil {
			return nil, &RequestError{Verb: "create", Resource: "selfsubjectaccessreviews", Namespace: namespace, Server: c.server, Err: err}
		}
		if !allowed {
			missing = append(missing, rule)
		}
	}
	return missing, nil
}

func (c *Client) allowed(ctx context.Context, namespace string, rule Rule) (bool, error) {
	question := accessReview{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"}
	question.Spec.Attributes = resourceAttributes{namespace, rule.Verb, rule.Group, rule.Resource, rule.Subresource, rule.Name}
	body, err := json.Marshal(question)
	if err != nil {
		return false, err
	}
	reply, err := c.groups[""].Post().AbsPath("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").
		SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").Body(body).Do(ctx).Raw()
	if err != nil {
		return false, err
	}
	var answer accessReview
	if err := json.Unmarshal(reply, &answer); err != nil {
		return false, fmt.Errorf("unreadable answer: %w", err)
	}
	return answer.Status.Allowed, nil
}

// ForbiddenError is a refusal (403) of which is known which rights were lacking.
type ForbiddenError struct {
	Namespace string
	Denied    []Rule // as Missing has found them; not empty
	Err       error  // the refusal
}

// Error names verb, resource and namespace.
func (e *ForbiddenError) Error() string {
	rules := make([]string, 0, len(e.Denied))
	for _, rule := range e.Denied {
		rules = append(rules, rule.String())
	}
	return fmt.Sprintf("not allowed in namespace %q: %s", e.Namespace, strings.Join(rules, " and "))
}

// Hint is the rule to add.
func (e *ForbiddenError) Hint() string {
	return fmt.Sprintf("ask for a role in namespace %q with the rule %s", e.Namespace,
		strings.ReplaceAll(strings.ReplaceAll(roleRules(e.Denied), "- {", "{"), "\n", " and "))
}

// Unwrap gives the refusal.
func (e *ForbiddenError) Unwrap() error { return e.Err }
