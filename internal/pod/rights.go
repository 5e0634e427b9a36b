package pod

import (
	"context"
	"encoding/json"
	"fmt"
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

// accessReview is SelfSubjectAccessReview of authorization/v1. The package of
// that type is not used because it would add the whole API group to the binary.
type accessReview struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Attributes resourceAttributes `json:"resourceAttributes"`
	} `json:"spec"`
	Status accessReviewStatus `json:"status,omitzero"`
}

type accessReviewStatus struct {
	Allowed bool `json:"allowed"`
	// EvaluationError is why the server could not evaluate all roles, for
	// example because a role does not exist; "" if it could.
	EvaluationError string `json:"evaluationError,omitempty"`
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
// SelfSubjectAccessReview, which every authenticated user is allowed to do. If
// incomplete is not "", it is the reason why the server could not evaluate all
// roles, and the user may have some of the denied rules. Every error is a
// *RequestError.
func (c *Client) DeniedRules(
	ctx context.Context, namespace string, rules ...Rule,
) (denied []Rule, incomplete string, err error) {
	for _, rule := range rules {
		status, err := c.review(ctx, namespace, rule)
		if err != nil {
			return nil, "", &RequestError{
				Verb: "create", Resource: "selfsubjectaccessreviews", Namespace: namespace, Server: c.server, Err: err,
			}
		}
		if status.Allowed {
			continue
		}
		denied = append(denied, rule)
		if status.EvaluationError != "" {
			incomplete = status.EvaluationError
		}
	}
	return denied, incomplete, nil
}

// review creates a SelfSubjectAccessReview for one rule and returns its status.
func (c *Client) review(ctx context.Context, namespace string, rule Rule) (accessReviewStatus, error) {
	review := accessReview{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"}
	review.Spec.Attributes = resourceAttributes{
		Namespace: namespace, Verb: rule.Verb, Group: rule.Group,
		Resource: rule.Resource, Subresource: rule.Subresource, Name: rule.Name,
	}
	body, err := json.Marshal(review)
	if err != nil {
		return accessReviewStatus{}, err
	}
	response, err := c.createReview(ctx, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
	if err != nil {
		return accessReviewStatus{}, err
	}
	var answer accessReview
	if err := json.Unmarshal(response, &answer); err != nil {
		return accessReviewStatus{}, fmt.Errorf("cannot decode the answer: %w", err)
	}
	return answer.Status, nil
}

// createReview creates a review and returns the answer. The error is that of
// Result.Error, which contains the Status of the server. The error of Result.Raw
// does not.
func (c *Client) createReview(ctx context.Context, path string, review []byte) ([]byte, error) {
	result := c.groups[""].Post().AbsPath(path).
		SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").Body(review).Do(ctx)
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
}
