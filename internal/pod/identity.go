package pod

import (
	"context"
	"encoding/json"
	"fmt"
)

// Identity is the user as which the API server authenticates the client. The texts
// come from the server and may contain control characters.
type Identity struct {
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
}

// Anonymous reports whether the user is system:anonymous: the server did not
// authenticate the client.
func (i Identity) Anonymous() bool { return i.Username == "system:anonymous" }

// Identity creates a SelfSubjectReview of authentication/v1, which every
// authenticated user is allowed to do. Servers before Kubernetes 1.28 do not have
// this resource. Every error is a *RequestError.
func (c *Client) Identity(ctx context.Context) (Identity, error) {
	const review = `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`
	response, err := c.createReview(ctx, "/apis/authentication.k8s.io/v1/selfsubjectreviews", []byte(review))
	var answer struct {
		Status struct {
			UserInfo Identity `json:"userInfo"`
		} `json:"status"`
	}
	if err == nil {
		if err = json.Unmarshal(response, &answer); err != nil {
			err = fmt.Errorf("cannot decode the answer: %w", err)
		}
	}
	if err != nil {
		return Identity{}, &RequestError{Verb: "create", Resource: "selfsubjectreviews", Server: c.server, Err: err}
	}
	return answer.Status.UserInfo, nil
}
