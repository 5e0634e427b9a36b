package pod

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"kshell/internal/apiclient"
)

// signingRequest contains the fields of CertificateSigningRequest
// (certificates/v1) that this package needs. The package of that type is not
// used because it would add the whole API group to the binary.
type signingRequest struct {
	Metadata struct {
		Name              string    `json:"name"`
		CreationTimestamp time.Time `json:"creationTimestamp"`
	} `json:"metadata"`
	Spec struct {
		SignerName string `json:"signerName"`
		Username   string `json:"username"`
	} `json:"spec"`
	Status struct {
		Conditions  []struct{} `json:"conditions"` // Approved, Denied or Failed
		Certificate []byte     `json:"certificate"`
	} `json:"status"`
}

// kubeletServing is the name of the signer of the kubelets' serving
// certificates (KubeletServingSignerName in certificates/v1).
const kubeletServing = "kubernetes.io/kubelet-serving"

// PendingServingRequest returns the name of the newest certificate signing
// request for the serving certificate of a node's kubelet that is neither
// approved nor denied, or "" if there is none. The user must be allowed to list
// the requests, which are cluster-scoped.
func (c *Client) PendingServingRequest(ctx context.Context, node string) (string, error) {
	answer, err := c.groups[""].Get().AbsPath("/apis/certificates.k8s.io/v1/certificatesigningrequests").
		Param("fieldSelector", "spec.signerName="+kubeletServing).SetHeader("Accept", "application/json").
		Do(apiclient.PageContext(ctx)).Raw()
	if err != nil {
		return "", fmt.Errorf("cannot list certificate signing requests: %w", apiclient.Plain(err))
	}
	var list struct {
		Items []signingRequest `json:"items"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		return "", fmt.Errorf("cannot decode the certificate signing requests: %w", err)
	}
	var newest signingRequest
	for _, r := range list.Items {
		pending := len(r.Status.Conditions) == 0 && len(r.Status.Certificate) == 0
		if pending && r.Spec.SignerName == kubeletServing && r.Spec.Username == "system:node:"+node &&
			!r.Metadata.CreationTimestamp.Before(newest.Metadata.CreationTimestamp) {
			newest = r
		}
	}
	return newest.Metadata.Name, nil
}
