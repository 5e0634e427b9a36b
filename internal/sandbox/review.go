package sandbox

import (
	"encoding/json"
	"io"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// serveReview answers a SelfSubjectAccessReview (authorization/v1), the types of whose package are not worth their weight.
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
	asked := review.Spec.Attributes
	resource := asked.Resource
	if asked.Subresource != "" {
		resource += "/" + asked.Subresource
	}
	review.Status.Allowed = may(user, asked.Verb, resource)
	writeJSON(w, http.StatusCreated, review)
}
