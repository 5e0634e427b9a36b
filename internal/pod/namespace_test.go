package pod

import (
	"errors"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// If a pod, a workload or the pods of a selector are missing because the
// namespace does not exist, the error is a *NamespaceError.
func TestClient_NamespaceMissing(t *testing.T) {
	const namespace = "/api/v1/namespaces/shop"
	exists := corev1.Namespace{TypeMeta: typeMeta("v1", "Namespace"), ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	forbidden := errorStatus(http.StatusForbidden, metav1.StatusReasonForbidden, "namespaces is forbidden")
	for _, tt := range []struct {
		name    string
		answer  any
		missing bool
	}{
		{"missing", notFound(namespace), true},
		{"exists", exists, false},
		{"not allowed to get it", forbidden, false},
		{"no API server", htmlPage{404}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := newFakeAPI(t, map[string]any{namespace: tt.answer, core + "pods": podList()}).client
			check := func(method string, err error) {
				t.Helper()
				var missing *NamespaceError
				if got := errors.As(err, &missing); err == nil || got != tt.missing {
					t.Errorf("%s: got %v, a *NamespaceError: %v, want %v", method, err, got, tt.missing)
				}
			}
			labels := Request{Namespace: "shop", Selector: "app=web"}
			for _, req := range []Request{request(t, "web"), request(t, "deploy/web"), labels} {
				_, err := client.Find(t.Context(), req)
				check("Find", err)
				_, _, err = client.List(t.Context(), req)
				check("List", err)
				if req != labels || tt.missing { // otherwise Wait waits for pods
					_, err = client.Wait(t.Context(), req, nil)
					check("Wait", err)
				}
			}
		})
	}
}
