package pod

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"k8s.io/apimachinery/pkg/util/validation"

	"kshell/internal/similar"
)

const (
	similarLimit = 500 // the maximum number of names that are compared
	// acceptNames is the header Accept that asks only for the metadata of objects. Kubernetes supports that
	// since 1.15; other servers may return whole objects.
	acceptNames = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io, application/json"
)

// addSimilar sets Similar of err, if it is a *RequestError for an object that
// does not exist. It requests one page of the list of objects. If that fails, err
// is not changed.
func (c *Client) addSimilar(ctx context.Context, err error) {
	var missing *RequestError
	if !errors.As(err, &missing) || !missing.NotFound() {
		return
	}
	kind, ok := findKind(missing.Target.Kind)
	if !ok {
		return
	}
	answer, failed := c.groups[kind.group].Get().Namespace(missing.Namespace).Resource(kind.resource).
		Param("limit", strconv.Itoa(similarLimit)).SetHeader("Accept", acceptNames).Do(ctx).Raw()
	var list struct {
		Items []struct{ Metadata struct{ Name string } }
	}
	if failed != nil || json.Unmarshal(answer, &list) != nil {
		return
	}
	var names []string
	for _, item := range list.Items {
		if name := item.Metadata.Name; len(validation.IsDNS1123Subdomain(name)) == 0 { // the answer is not trusted
			names = append(names, name)
		}
	}
	missing.Similar = similar.Names(missing.Target.Name, names)
	if kind.name != kindPod {
		for i, name := range missing.Similar {
			missing.Similar[i] = kind.name + "/" + name
		}
	}
}
