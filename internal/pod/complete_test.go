package pod

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompleteType(t *testing.T) {
	for prefix, want := range map[string][]string{
		"dep":          {"deployment"},
		"deployments":  {"deployments"},
		"sts":          {"sts"},
		"po":           {"pod"},
		"re":           {"replicaset", "replicationcontroller"},
		"web":          nil,
		"deployment-x": nil,
	} {
		if diff := cmp.Diff(want, CompleteType(prefix)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", prefix, diff)
		}
	}
	if all := CompleteType(""); len(all) != len(kinds) {
		t.Errorf("without a prefix: %q, want %d types", all, len(kinds))
	}
	for _, k := range kinds {
		for _, spelling := range append([]string{k.name, k.resource}, k.short...) {
			for _, typ := range CompleteType(spelling) {
				if _, err := ParseTarget(typ + "/web"); err != nil {
					t.Errorf("%s: %v", typ, err)
				}
			}
		}
	}
}

func TestListPath(t *testing.T) {
	for typ, want := range map[string]string{
		"pod":                    "/api/v1/namespaces/default/pods",
		"svc":                    "/api/v1/namespaces/default/services",
		"deploy":                 "/apis/apps/v1/namespaces/default/deployments",
		"deployments.apps":       "/apis/apps/v1/namespaces/default/deployments",
		"job":                    "/apis/batch/v1/namespaces/default/jobs",
		"replicationcontrollers": "/api/v1/namespaces/default/replicationcontrollers",
		"statefulsets.v1.apps":   "/apis/apps/v1/namespaces/default/statefulsets",
	} {
		if got, err := ListPath(typ, "default"); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", typ, got, err, want)
		}
	}
	if got, err := ListPath("gizmo", "default"); err == nil {
		t.Errorf("path of an unknown type: %q", got)
	}
}
