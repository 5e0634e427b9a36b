package pod

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// If a pod or a workload does not exist, the hint suggests existing ones with
// similar names. An error of the list, and names that are not valid, are ignored.
func TestClient_SimilarNames(t *testing.T) {
	exists := corev1.Namespace{TypeMeta: typeMeta("v1", "Namespace"), ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	names := map[string]any{"kind": "PartialObjectMetadataList", "items": []any{
		map[string]any{"metadata": map[string]any{"name": "webb-1"}},
		map[string]any{"metadata": map[string]any{"name": "db"}},
		map[string]any{"metadata": map[string]any{"name": "web\x1b1"}},
	}}
	forbidden := errorStatus(http.StatusForbidden, metav1.StatusReasonForbidden, "pods is forbidden")
	for _, tt := range []struct {
		target string
		list   any
		want   []string
	}{
		{"web-1", names, []string{"webb-1"}},
		{"deploy/web-1", names, []string{"deployment/webb-1"}},
		{"cache", names, nil},
		{"web-1", forbidden, nil},
		{"web-1", htmlPage{200}, nil},
	} {
		client := newFakeAPI(t, map[string]any{
			"/api/v1/namespaces/shop": exists, core + "pods": tt.list, apps + "deployments": tt.list,
		}).client
		_, err := client.Find(t.Context(), request(t, tt.target))
		var missing *RequestError
		if !errors.As(err, &missing) || !missing.NotFound() || !slices.Equal(missing.Similar, tt.want) {
			t.Errorf("%s: got %v, similar: %q, want %q", tt.target, err, missing.Similar, tt.want)
			continue
		}
		question := "did you mean " + strings.Join(tt.want, " or ") + "?\ntype `kubectl get "
		if len(tt.want) > 0 != strings.HasPrefix(missing.Hint(), question) {
			t.Errorf("%s: hint %q", tt.target, missing.Hint())
		}
	}
}
