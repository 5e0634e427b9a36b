package kinds

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// now is the time of the tests. The objects in the tests were created an hour
// before.
var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

const created = `"creationTimestamp":"2026-11-30T11:00:00Z"`

func TestRow(t *testing.T) {
	for name, test := range map[string]struct {
		kind, object string
		want         []string // with the wide columns
		ready        bool
	}{
		"running pod": {
			"pod", `{"metadata":{"name":"web",` + created + `},"spec":{"nodeName":"n1","containers":
			[{"name":"a"},{"name":"b"}]},
			"status":{"phase":"Running","podIP":"10.0.0.1","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[
			{"ready":true,"restartCount":2,"state":{"running":{}}},{"ready":true,"restartCount":1,"state":{"running":{}}}]}}`,
			[]string{"web", "2/2", "Running", "3", "60m", "10.0.0.1", "n1"},
			true,
		},
		"pod with a sidecar": {
			"pod", `{"metadata":{"name":"web"},"spec":{"initContainers":[{"name":"i"},{"name":"s","restartPolicy":"Always"}],
			"containers":[{"name":"a"}]},"status":{"phase":"Running","initContainerStatuses":[
			{"name":"i","ready":true,"restartCount":5,"state":{"terminated":{"exitCode":0}}},
			{"name":"s","ready":true,"started":true,"restartCount":1,"state":{"running":{}}}],
			"containerStatuses":[{"name":"a","ready":true,"restartCount":2,"state":{"running":{}}}]}}`,
			[]string{"web", "2/2", "Running", "3", "<unknown>", "<none>", "<none>"},
			false,
		},
		"pod without a node": {
			"pod", `{"metadata":{"name":"web"},"spec":{"containers":[{"name":"a"}]},"status":{"phase":"Pending"}}`,
			[]string{"web", "0/1", "Pending", "0", "<unknown>", "<none>", "<none>"},
			false,
		},
		"node": {
			"no", `{"metadata":{"name":"n1",` + created + `,"labels":{"node-role.kubernetes.io/worker":"",
			"kubernetes.io/role":"db"}},"spec":{"unschedulable":true},"status":{"nodeInfo":{"kubeletVersion":"v1.37.2",
			"osImage":"Debian","kernelVersion":"6.1","containerRuntimeVersion":"containerd://1.6"},
			"addresses":[{"type":"Hostname","address":"n1"},{"type":"InternalIP","address":"10.0.0.2"}],
			"conditions":[{"type":"Ready","status":"True"}]}}`,
			[]string{
				"n1", "Ready,SchedulingDisabled", "db,worker", "60m", "v1.37.2", "10.0.0.2", "Debian", "6.1",
				"containerd://1.6",
			},
			true,
		},
		"node that is not ready": {
			"nodes", `{"metadata":{"name":"n1"},"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}`,
			[]string{"n1", "NotReady", "<none>", "<unknown>", "", "<none>", "<none>", "<none>", "<none>"},
			false,
		},
		"event": {
			"ev", `{"metadata":{"name":"web.1",` + created + `},"type":"Warning","reason":"BackOff",
			"message":" it failed\n",
			"involvedObject":{"kind":"Pod","name":"web"},"count":3,"lastTimestamp":"2026-11-30T11:59:00Z",
			"source":{"component":"kubelet","host":"n1"}}`,
			[]string{"60s", "Warning", "BackOff", "pod/web", "it failed", "kubelet, n1", "3", "web.1"},
			false,
		},
		"event of a series": {
			"events", `{"metadata":{"name":"web.1",` + created + `},"type":"Normal","reason":"Pulled","message":"x",
			"regarding":{},"involvedObject":{"kind":"Pod","name":"web"},"eventTime":"2026-11-30T11:50:00.000000Z",
			"series":{"count":7,"lastObservedTime":"2026-11-30T11:58:00.000000Z"},"reportingComponent":"c"}`,
			[]string{"2m", "Normal", "Pulled", "pod/web", "x", "c", "7", "web.1"},
			false,
		},
		"namespace": {
			"ns", `{"metadata":{"name":"dev",` + created + `},"status":{"phase":"Active"}}`,
			[]string{"dev", "Active", "60m"},
			true,
		},
		"service": {
			"svc", `{"metadata":{"name":"web",` + created + `},"spec":{"type":"LoadBalancer","clusterIP":"10.1.0.1",
			"selector":{"b":"2","a":"1"},"ports":[{"port":80,"nodePort":30080},{"port":53,"protocol":"UDP"}]}}`,
			[]string{"web", "LoadBalancer", "10.1.0.1", "<pending>", "80:30080/TCP,53/UDP", "60m", "a=1,b=2"},
			false,
		},
		"service of an external name": {
			"svc", `{"metadata":{"name":"db"},"spec":{"type":"ExternalName","externalName":"db.example"}}`,
			[]string{"db", "ExternalName", "<none>", "db.example", "<none>", "<unknown>", "<none>"},
			true,
		},
		"deployment": {
			"deploy", `{"metadata":{"name":"web",` + created + `,"generation":2},"spec":{"replicas":2,
			"template":{"spec":
			{"containers":[{"name":"a","image":"i1"},{"name":"b","image":"i2"}]}}},
			"status":{"observedGeneration":2,"replicas":2,"updatedReplicas":2,"readyReplicas":2,"availableReplicas":2}}`,
			[]string{"web", "2/2", "2", "2", "60m", "a,b", "i1,i2"},
			true,
		},
		"deployment whose change was not observed": {
			"deploy", `{"metadata":{"name":"web","generation":3},"spec":{"replicas":1},
			"status":{"observedGeneration":2,"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1}}`,
			[]string{"web", "1/1", "1", "1", "<unknown>", "", ""},
			false,
		},
		"replicaset": {
			"rs", `{"metadata":{"name":"web-1",` + created + `},"status":{"replicas":1,"readyReplicas":1}}`,
			[]string{"web-1", "1", "1", "1", "60m", "", ""},
			true,
		},
		"statefulset": {
			"sts", `{"metadata":{"name":"db",` + created + `},"spec":{"replicas":3},"status":{"readyReplicas":1}}`,
			[]string{"db", "1/3", "60m", "", ""},
			false,
		},
		"daemonset": {
			"ds", `{"metadata":{"name":"agent",` + created + `},"status":{"desiredNumberScheduled":2,
			"currentNumberScheduled":2,"numberReady":2,"updatedNumberScheduled":2,"numberAvailable":1}}`,
			[]string{"agent", "2", "2", "2", "2", "1", "60m", "", ""},
			true,
		},
		"completed job": {
			"job", `{"metadata":{"name":"once",` + created + `},"spec":{"completions":2},"status":{"succeeded":2,
			"startTime":"2026-11-30T11:00:00Z","completionTime":"2026-11-30T11:00:05Z",
			"conditions":[{"type":"Complete","status":"True"}]}}`,
			[]string{"once", "Complete", "2/2", "5s", "60m", "", ""},
			true,
		},
		"running job": {
			"jobs", `{"metadata":{"name":"many"},"spec":{"parallelism":3},
			"status":{"startTime":"2026-11-30T11:59:00Z"}}`,
			[]string{"many", "Running", "0/1 of 3", "60s", "<unknown>", "", ""},
			false,
		},
		"cronjob": {
			"cj", `{"metadata":{"name":"night",` + created + `},"spec":{"schedule":"0 3 * * *","suspend":true},
			"status":{"active":[{}],"lastScheduleTime":"2026-11-30T11:30:00Z"}}`,
			[]string{"night", "0 3 * * *", "true", "1", "30m", "60m", "", ""},
			false,
		},
		"replicationcontroller": {
			"rc", `{"metadata":{"name":"old"},"spec":{"replicas":2},"status":{"replicas":2,"readyReplicas":1}}`,
			[]string{"old", "2", "2", "1", "<unknown>", "<none>", "<none>"},
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			k, ok := Find(test.kind)
			if !ok {
				t.Fatalf("there is no type %q", test.kind)
			}
			got, err := k.Row([]byte(test.object), now, true)
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%v, -want +got:\n%s", err, diff)
			}
			if header := k.Header(true); len(header) != len(got) {
				t.Errorf("%d titles for %d cells: %q", len(header), len(got), header)
			}
			if narrow, _ := k.Row([]byte(test.object), now, false); len(narrow) != len(k.Header(false)) {
				t.Errorf("%d titles for %d cells: %q", len(k.Header(false)), len(narrow), narrow)
			}
			if k.Ready([]byte(test.object)) != test.ready {
				t.Errorf("Ready is %t, want %t", !test.ready, test.ready)
			}
		})
	}
}

func TestRow_NotAnObject(t *testing.T) {
	for _, k := range all() {
		if _, err := k.Row([]byte(`[]`), now, true); err == nil {
			t.Errorf("%s: no error for an array", k.Name)
		}
		if _, err := k.Row([]byte(`{}`), now, true); err != nil {
			t.Errorf("%s: an empty object: %v", k.Name, err)
		}
	}
}

func TestPodStatus(t *testing.T) {
	for want, object := range map[string]string{
		"Evicted": `{"status":{"phase":"Failed","reason":"Evicted"}}`,
		"Unknown": `{}`,
		"ImagePullBackOff": `{"status":{"phase":"Pending","containerStatuses":
			[{"state":{"waiting":{"reason":"ImagePullBackOff"}}}]}}`,
		"Completed": `{"status":{"phase":"Succeeded","containerStatuses":
			[{"state":{"terminated":{"reason":"Completed"}}}]}}`,
		"Signal:9": `{"status":{"phase":"Failed","containerStatuses":
			[{"state":{"terminated":{"signal":9}}}]}}`,
		"ExitCode:3": `{"status":{"phase":"Failed","containerStatuses":
			[{"state":{"terminated":{"exitCode":3}}}]}}`,
		"Terminating": `{"metadata":{"deletionTimestamp":"2026-11-30T11:00:00Z"},
			"status":{"phase":"Running"}}`,
		"Init:1/2": `{"spec":{"initContainers":[{},{}]},"status":{"initContainerStatuses":
			[{"state":{"terminated":{}}},{"state":{"running":{}}}]}}`,
		"Init:Error": `{"spec":{"initContainers":[{}]},"status":{"initContainerStatuses":
			[{"state":{"terminated":{"exitCode":1,"reason":"Error"}}}]}}`,
		"Init:ErrImagePull": `{"spec":{"initContainers":[{}]},"status":{"initContainerStatuses":
			[{"state":{"waiting":{"reason":"ErrImagePull"}}}]}}`,
		"Running": `{"status":{"phase":"Running","conditions":[{"type":"Ready",
			"status":"True"},{"type":"Initialized","status":"True"}],"containerStatuses":
			[{"state":{"terminated":{"reason":"Completed"}}},{"ready":true,"state":{"running":{}}}],
			"initContainerStatuses":[{"state":{"waiting":{}}}]}}`,
		"NotReady": `{"status":{"phase":"Running","containerStatuses":
			[{"state":{"terminated":{"reason":"Completed"}}},{"ready":true,"state":{"running":{}}}]}}`,
		"ContainerCreating": `{"spec":{"initContainers":[{"name":"s","restartPolicy":"Always"}]},
			"status":{"initContainerStatuses":[{"name":"s","started":true,"state":{"running":{}}}],
			"containerStatuses":[{"state":{"waiting":{"reason":"ContainerCreating"}}}]}}`,
		"ContainerStatusLost": `{"metadata":{"deletionTimestamp":"2026-11-30T11:00:00Z"},
			"status":{"phase":"Failed","reason":"ContainerStatusLost"}}`,
	} {
		k, _ := Find("pod")
		if got, err := k.Row([]byte(object), now, false); err != nil || got[2] != want {
			t.Errorf("%s: got %q, %v, want %q", object, got, err, want)
		}
	}
}

func TestFind(t *testing.T) {
	for typed, want := range map[string]string{
		"pods": "pods", "Po": "pods", "deployments.apps": "deployments", "deployment.v1.apps": "deployments",
		"cj": "cronjobs", "events": "events", "no": "nodes", "job.batch": "jobs",
		"deployments.batch": "", "widgets": "", "": "", "p": "",
	} {
		k, ok := Find(typed)
		if !ok {
			k = Kind{}
		}
		if k.Resource != want {
			t.Errorf("%q: got %q, want %q", typed, k.Resource, want)
		}
	}
	if got := Complete("no"); !slices.Equal(got, []string{"nodes"}) {
		t.Errorf("Complete: got %q", got)
	}
	if got := Complete("de"); !slices.Equal(got, []string{"deployments"}) {
		t.Errorf("Complete: got %q", got)
	}
}

func TestPath(t *testing.T) {
	for _, test := range []struct{ kind, namespace, want string }{
		{"pods", "dev", "/api/v1/namespaces/dev/pods"},
		{"pods", "", "/api/v1/pods"},
		{"deploy", "dev", "/apis/apps/v1/namespaces/dev/deployments"},
		{"cj", "", "/apis/batch/v1/cronjobs"},
		{"nodes", "dev", "/api/v1/nodes"},
		{"pods", "..", "/api/v1/namespaces/%2E%2E/pods"},
		{"pods", "a/b", "/api/v1/namespaces/a%2Fb/pods"},
	} {
		k, _ := Find(test.kind)
		if got := k.Path(test.namespace); got != test.want {
			t.Errorf("%s in %q: got %s, want %s", test.kind, test.namespace, got, test.want)
		}
	}
}

func TestRaw(t *testing.T) {
	for given, want := range map[string]string{
		"/apis/example.com/v1/namespaces/dev/widgets": "widgets",
		"apis/example.com/v1beta1/widgets/":           "widgets",
		"/api/v1/pods":                                "pods",
		"/api/v1/namespaces":                          "namespaces",
		"/api/v1/namespaces/dev/pods/web":             "",
		"/api/v1/pods?watch=1":                        "",
		"/api/v1/../v1/pods":                          "",
		"/api/v1//pods":                               "",
		"/version":                                    "",
		"/apis/apps/v1":                               "",
		"":                                            "",
	} {
		k, ok := Raw(given)
		if ok != (want != "") || k.Resource != want {
			t.Errorf("%q: got %q, %t, want %q", given, k.Resource, ok, want)
		}
	}
	k, _ := Raw("apis/example.com/v1/namespaces/dev/widgets/")
	if got := k.Path("other"); got != "/apis/example.com/v1/namespaces/dev/widgets" {
		t.Errorf("got the path %s", got)
	}
	object := []byte(`{"metadata":{"name":"w",` + created + `},"status":{"conditions":
			[{"type":"Ready","status":"True"}]}}`)
	if got, err := k.Row(object, now, true); err != nil || !slices.Equal(got, []string{"w", "60m"}) || !k.Ready(object) {
		t.Errorf("got %q, %v, ready %t", got, err, k.Ready(object))
	}
	for _, object := range []string{`{"status":"fine"}`, `{"status":{"conditions":[7]}}`, `{}`} {
		if _, err := k.Row([]byte(object), now, false); err != nil || k.Ready([]byte(object)) {
			t.Errorf("%s: %v, or it is ready", object, err)
		}
	}
}
