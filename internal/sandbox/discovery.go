package sandbox

import (
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
)

// served lists the API resources of the sandbox.
var served = []struct {
	group string
	metav1.APIResource
}{
	{"", kind("Namespace", "namespaces", false, "ns")},
	{"", kind("Node", "nodes", false, "no")},
	{"", kind("Pod", "pods", true, "po")},
	{"", kind("Service", "services", true, "svc")},
	{"", kind("ReplicationController", "replicationcontrollers", true, "rc")},
	{"", kind("Event", "events", true, "ev")},
	{"certificates.k8s.io", kind("CertificateSigningRequest", "certificatesigningrequests", false, "csr")},
	{"apps", kind("Deployment", "deployments", true, "deploy")},
	{"apps", kind("ReplicaSet", "replicasets", true, "rs")},
	{"apps", kind("StatefulSet", "statefulsets", true, "sts")},
	{"apps", kind("DaemonSet", "daemonsets", true, "ds")},
	{"batch", kind("Job", "jobs", true)},
	{"batch", kind("CronJob", "cronjobs", true, "cj")},
}

func kind(name, plural string, namespaced bool, short ...string) metav1.APIResource {
	r := metav1.APIResource{
		Name: plural, SingularName: strings.ToLower(name), Kind: name, Namespaced: namespaced, ShortNames: short,
		Verbs: metav1.Verbs{"get", "list", "watch"},
	}
	if plural == "pods" {
		r.Verbs = append(r.Verbs, "create", "delete")
		r.Categories = []string{"all"}
	}
	return r
}

func lookUp(group, plural string) (metav1.APIResource, bool) {
	for _, r := range served {
		if r.group == group && r.Name == plural {
			return r.APIResource, true
		}
	}
	return metav1.APIResource{}, false
}

func groupVersion(group string) string {
	if group == "" {
		return "v1"
	}
	return group + "/v1"
}

// serveDiscovery answers the paths of API discovery, version and health, and
// reports whether the path was one of them.
func serveDiscovery(w http.ResponseWriter, path string) bool {
	switch path {
	case "/version":
		writeJSON(w, http.StatusOK, version.Info{Major: "1", Minor: "37", GitVersion: "v1.37.2", Platform: "sandbox"})
	case "/healthz", "/livez", "/readyz":
		_, _ = w.Write([]byte("ok"))
	case "/api":
		writeJSON(w, http.StatusOK, metav1.APIVersions{
			TypeMeta: metav1.TypeMeta{Kind: "APIVersions", APIVersion: "v1"}, Versions: []string{"v1"},
		})
	case "/apis":
		writeJSON(w, http.StatusOK, metav1.APIGroupList{
			TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"},
			Groups:   []metav1.APIGroup{apiGroup("apps"), apiGroup("batch"), apiGroup("certificates.k8s.io")},
		})
	case "/api/v1":
		writeJSON(w, http.StatusOK, resourceList(""))
	case "/apis/apps/v1":
		writeJSON(w, http.StatusOK, resourceList("apps"))
	case "/apis/batch/v1":
		writeJSON(w, http.StatusOK, resourceList("batch"))
	case "/apis/certificates.k8s.io/v1":
		writeJSON(w, http.StatusOK, resourceList("certificates.k8s.io"))
	default:
		return false
	}
	return true
}

func apiGroup(name string) metav1.APIGroup {
	v := metav1.GroupVersionForDiscovery{GroupVersion: groupVersion(name), Version: "v1"}
	return metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v}
}

func resourceList(group string) metav1.APIResourceList {
	list := metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: groupVersion(group),
	}
	for _, r := range served {
		if r.group == group {
			list.APIResources = append(list.APIResources, r.APIResource)
		}
	}
	return list
}
