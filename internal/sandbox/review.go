package sandbox

import (
	"encoding/json"
	"io"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// serveReview answers a SelfSubjectAccessReview (authorization/v1). It declares
// the few fields it needs instead of importing the package of that API group.
func serveReview(w http.ResponseWriter, r *http.Request, user string) {
	var review struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			Attributes struct {
				Namespace   string `json:"namespace,omitempty"`
				Verb        string `json:"verb"`
				Resource    string `json:"resource"`
				Subresource string `json:"subresource,omitempty"`
			} `json:"resourceAttributes"`
		} `json:"spec"`
		Status struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyLimit))
	if err == nil {
		err = json.Unmarshal(body, &review)
	}
	if err != nil {
		writeError(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	attributes := review.Spec.Attributes
	resource := attributes.Resource
	if attributes.Subresource != "" {
		resource += "/" + attributes.Subresource
	}
	review.Status.Allowed = allowed(user, attributes.Verb, resource)
	writeJSON(w, http.StatusCreated, review)
}

// serveSelfReview answers a SelfSubjectReview (authentication/v1).
func serveSelfReview(w http.ResponseWriter, user string) {
	var review struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Status     struct {
			UserInfo struct {
				Username string   `json:"username"`
				Groups   []string `json:"groups"`
			} `json:"userInfo"`
		} `json:"status"`
	}
	review.APIVersion, review.Kind = "authentication.k8s.io/v1", "SelfSubjectReview"
	review.Status.UserInfo.Username = user
	review.Status.UserInfo.Groups = []string{"system:authenticated"}
	if user == anonymous {
		review.Status.UserInfo.Groups = []string{"system:unauthenticated"}
	}
	writeJSON(w, http.StatusCreated, review)
}
