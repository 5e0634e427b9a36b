package pod

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const (
	core  = "/api/v1/namespaces/shop/"
	apps  = "/apis/apps/v1/namespaces/shop/"
	batch = "/apis/batch/v1/namespaces/shop/"
)

var (
	named    = metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "mine"}
	selector = &metav1.LabelSelector{
		MatchLabels: map[string]string{"app": "web"},
		MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "tier", Operator: metav1.LabelSelectorOpIn, Values: []string{"a", "b"}},
			{Key: "old", Operator: metav1.LabelSelectorOpDoesNotExist},
		},
	}
)

// Find must use only the selector and the limit in the query, and must not make
// requests for API discovery.
func TestFind_EveryKind(t *testing.T) {
	const bySelector = "GET " + core + "pods?labelSelector=app%3Dweb%2C%21old%2Ctier+in+%28a%2Cb%29&limit=500"
	const byMap = "GET " + core + "pods?labelSelector=app%3Dweb&limit=500"
	labels := map[string]string{"app": "web"}
	tests := []struct {
		target string
		path   string
		object any
		list   string
	}{
		{"web", core + "pods/web", runningPod("web"), ""},
		{"deploy/web", apps + "deployments/web", appsv1.Deployment{
			TypeMeta: typeMeta(
				"apps/v1",
				"Deployment",
			), ObjectMeta: named, Spec: appsv1.DeploymentSpec{Selector: selector},
		}, bySelector},
		{"rs/web", apps + "replicasets/web", appsv1.ReplicaSet{
			TypeMeta: typeMeta(
				"apps/v1",
				"ReplicaSet",
			), ObjectMeta: named, Spec: appsv1.ReplicaSetSpec{Selector: selector},
		}, bySelector},
		{"sts/web", apps + "statefulsets/web", appsv1.StatefulSet{
			TypeMeta: typeMeta(
				"apps/v1",
				"StatefulSet",
			), ObjectMeta: named, Spec: appsv1.StatefulSetSpec{Selector: selector},
		}, bySelector},
		{"ds/web", apps + "daemonsets/web", appsv1.DaemonSet{
			TypeMeta: typeMeta(
				"apps/v1",
				"DaemonSet",
			), ObjectMeta: named, Spec: appsv1.DaemonSetSpec{Selector: selector},
		}, bySelector},
		{"job/web", batch + "jobs/web", batchv1.Job{
			TypeMeta: typeMeta("batch/v1", "Job"), ObjectMeta: named, Spec: batchv1.JobSpec{Selector: selector},
		}, bySelector},
		{"rc/web", core + "replicationcontrollers/web", corev1.ReplicationController{
			TypeMeta: typeMeta(
				"v1",
				"ReplicationController",
			), ObjectMeta: named, Spec: corev1.ReplicationControllerSpec{Selector: labels},
		}, byMap},
		{"svc/web", core + "services/web", corev1.Service{
			TypeMeta: typeMeta("v1", "Service"), ObjectMeta: named, Spec: corev1.ServiceSpec{Selector: labels},
		}, byMap},
	}
	for _, test := range tests {
		t.Run(test.target, func(t *testing.T) {
			a := newFakeAPI(t, map[string]any{test.path: test.object, core + "pods": podList(runningPod("web"))})
			got, err := a.client.Find(t.Context(), request(t, test.target))
			if err != nil {
				t.Fatal(err)
			}
			if got.Pod.Name != "web" || got.Container != "app" || len(got.Notes) != 0 {
				t.Errorf("got %s/%s, notes %q", got.Pod.Name, got.Container, got.Notes)
			}
			want := []string{"GET " + test.path}
			if test.list != "" {
				want = append(want, test.list)
			}
			if diff := cmp.Diff(want, a.received()); diff != "" {
				t.Errorf("requests: -want +got:\n%s", diff)
			}
		})
	}
}

func request(t *testing.T, target string) Request {
	t.Helper()
	parsed, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	return Request{Namespace: "shop", Target: parsed}
}

func deployment(replicas int32) map[string]any {
	return map[string]any{apps + "deployments/web": appsv1.Deployment{
		TypeMeta: typeMeta("apps/v1", "Deployment"), ObjectMeta: named,
		Spec: appsv1.DeploymentSpec{Selector: selector, Replicas: &replicas},
	}}
}

func TestFind_ChoiceIsNoted(t *testing.T) {
	answers := deployment(3)
	answers[core+"pods"] = podList(
		runningPod("web-a", readyAt(5)),
		runningPod("web-b", readyAt(2)),
		runningPod("web-c", deleting),
	)
	got, err := newFakeAPI(t, answers).client.Find(t.Context(), request(t, "deploy/web"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`deployment/web has 3 pods: chose "web-b" (ready longest)`}
	if diff := cmp.Diff(want, got.Notes); got.Pod.Name != "web-b" ||
		diff != "" {
		t.Errorf("chose %q; notes: -want +got:\n%s", got.Pod.Name, diff)
	}
}

func TestFind_PodOfAnotherOwner(t *testing.T) {
	answers := map[string]any{
		apps + "statefulsets/web": appsv1.StatefulSet{
			TypeMeta: typeMeta("apps/v1", "StatefulSet"), ObjectMeta: named,
			Spec: appsv1.StatefulSetSpec{Selector: selector, Replicas: pointer(int32(1))},
		},
		core + "pods": podList(
			runningPod("theirs", ownedBy("other"), readyAt(0)),
			runningPod("ours", ownedBy("mine"), readyAt(9)),
		),
	}
	got, err := newFakeAPI(t, answers).client.Find(t.Context(), request(t, "sts/web"))
	if err != nil || got.Pod.Name != "ours" {
		t.Fatalf("got %+v, %v; want the pod that the stateful set owns", got, err)
	}
	answers[core+"pods"] = podList(runningPod("theirs", ownedBy("other")))
	_, err = newFakeAPI(t, answers).client.Find(t.Context(), request(t, "sts/web"))
	var none *NoPodsError
	if !errors.As(err, &none) || !strings.Contains(none.Error(), "wants 1") {
		t.Errorf("got %v, want a *NoPodsError", err)
	}
}

func TestFind_DeploymentPods(t *testing.T) {
	answers := deployment(1)
	answers[core+"pods"] = podList(runningPod("web-a", ownedBy("its replica set")))
	if got, err := newFakeAPI(t, answers).client.Find(t.Context(), request(t, "deploy/web")); err != nil ||
		got.Pod.Name != "web-a" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestFind_PodBeingDeleted(t *testing.T) {
	answers := map[string]any{core + "pods/web": manyContainers(deleting)}
	req := request(t, "web")
	req.Container = "app"
	got, err := newFakeAPI(t, answers).client.Find(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`pod "web" is being deleted`}, got.Notes); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFind_NotRunningOrNotFound(t *testing.T) {
	a := newFakeAPI(t, map[string]any{core + "pods/web": runningPod("web", phase(corev1.PodSucceeded))})
	var stopped *NotRunningError
	if _, err := a.client.Find(t.Context(), request(t, "web")); !errors.As(err, &stopped) {
		t.Errorf("completed: got %v, want a *NotRunningError", err)
	}
	req := request(t, "web")
	req.Container = "nope"
	var unknown *UnknownContainerError
	if _, err := a.client.Find(t.Context(), req); !errors.As(err, &unknown) {
		t.Errorf("container: got %v, want an *UnknownContainerError", err)
	}
}

func TestFind_NoPods(t *testing.T) {
	daemonSet := func(wanted int32) any {
		return appsv1.DaemonSet{
			TypeMeta: typeMeta(
				"apps/v1",
				"DaemonSet",
			), ObjectMeta: named, Spec: appsv1.DaemonSetSpec{Selector: selector},
			Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: wanted},
		}
	}
	job := func(suspended bool) any {
		return batchv1.Job{
			TypeMeta: typeMeta(
				"batch/v1",
				"Job",
			), ObjectMeta: named, Spec: batchv1.JobSpec{Selector: selector, Suspend: &suspended},
			Status: batchv1.JobStatus{Succeeded: 1, Failed: 2},
		}
	}
	service := func(labels map[string]string) any {
		return corev1.Service{
			TypeMeta:   typeMeta("v1", "Service"),
			ObjectMeta: named,
			Spec:       corev1.ServiceSpec{Selector: labels},
		}
	}
	external := func(labels map[string]string) any {
		return corev1.Service{
			TypeMeta:   typeMeta("v1", "Service"),
			ObjectMeta: named,
			Spec: corev1.ServiceSpec{
				Selector: labels, Type: corev1.ServiceTypeExternalName, ExternalName: "db.example.com",
			},
		}
	}
	replicaSet := func(selector *metav1.LabelSelector) any {
		return appsv1.ReplicaSet{
			TypeMeta:   typeMeta("apps/v1", "ReplicaSet"),
			ObjectMeta: named,
			Spec:       appsv1.ReplicaSetSpec{Selector: selector},
		}
	}
	const quota = `pods "web-x" is forbidden: exceeded quota`
	deploymentFailing := appsv1.Deployment{
		TypeMeta:   typeMeta("apps/v1", "Deployment"),
		ObjectMeta: named,
		Spec:       appsv1.DeploymentSpec{Selector: selector},
	}
	deploymentFailing.Status.Conditions = []appsv1.DeploymentCondition{
		{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue, Message: "fine"},
		{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: quota},
	}
	replicaSetFailing, _ := replicaSet(selector).(appsv1.ReplicaSet)
	replicaSetFailing.Status.Conditions = []appsv1.ReplicaSetCondition{
		{Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: quota},
	}
	controllerFailing := corev1.ReplicationController{
		TypeMeta: typeMeta(
			"v1",
			"ReplicationController",
		), ObjectMeta: named, Spec: corev1.ReplicationControllerSpec{Selector: map[string]string{"app": "web"}},
		Status: corev1.ReplicationControllerStatus{Conditions: []corev1.ReplicationControllerCondition{
			{
				Type:    corev1.ReplicationControllerReplicaFailure,
				Status:  corev1.ConditionTrue,
				Reason:  "FailedCreate",
				Message: quota,
			},
		}},
	}
	broken := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}
	tests := []struct {
		target, path string
		object       any
		text, hint   string
		requests     int
	}{
		{
			"deploy/web",
			apps + "deployments/web",
			deployment(0)[apps+"deployments/web"],
			"deployment/web is scaled to 0 replicas",
			"kubectl scale deployment/web --replicas=1 -n shop",
			2,
		},
		{
			"deploy/web",
			apps + "deployments/web",
			deployment(2)[apps+"deployments/web"],
			"deployment/web has no pods but wants 2",
			"kubectl describe deployment/web -n shop",
			2,
		},
		{"rs/web", apps + "replicasets/web", replicaSet(selector), "but wants 1", "kubectl describe", 2},
		{
			"deploy/web",
			apps + "deployments/web",
			deploymentFailing,
			"deployment/web has no pods but wants 1 (FailedCreate): " + quota,
			"kubectl describe",
			2,
		},
		{
			"rs/web",
			apps + "replicasets/web",
			replicaSetFailing,
			"replicaset/web has no pods but wants 1 (FailedCreate): " + quota,
			"kubectl describe",
			2,
		},
		{
			"rc/web",
			core + "replicationcontrollers/web",
			controllerFailing,
			"replicationcontroller/web has no pods but wants 1 (FailedCreate): " + quota,
			"kubectl describe",
			2,
		},
		{
			"ds/web",
			apps + "daemonsets/web",
			daemonSet(0),
			"daemonset/web has no pods: no node matches it",
			"kubectl describe",
			2,
		},
		{
			"ds/web",
			apps + "daemonsets/web",
			daemonSet(3),
			"daemonset/web has no pods but wants 3",
			"kubectl describe",
			2,
		},
		{
			"job/web",
			batch + "jobs/web",
			job(false),
			"job/web has no pods (1 succeeded, 2 failed)",
			"kubectl describe",
			2,
		},
		{"job/web", batch + "jobs/web", job(true), "job/web has no pods: it is suspended", "kubectl describe", 2},
		{
			"svc/web",
			core + "services/web",
			service(map[string]string{"app": "web"}),
			"service/web selects no pods: no pod has the labels app=web",
			"--show-labels -n shop",
			2,
		},
		{"svc/web", core + "services/web", service(nil), "service/web has no selector", "kubectl get pods -n shop", 1},
		{
			"svc/web",
			core + "services/web",
			external(map[string]string{"app": "web"}),
			`service/web has no pods: it is an alias of the host "db.example.com" (type ExternalName)`,
			"kubectl get pods -n shop",
			1,
		},
		{
			"svc/web",
			core + "services/web",
			external(nil),
			`service/web has no pods: it is an alias of the host "db.example.com" (type ExternalName)`,
			"kubectl get pods -n shop",
			1,
		},
		{
			"rs/web",
			apps + "replicasets/web",
			replicaSet(&metav1.LabelSelector{}),
			"replicaset/web has no selector",
			"kubectl get pods",
			1,
		},
		{"rs/web", apps + "replicasets/web", replicaSet(nil), "replicaset/web has no selector", "kubectl get pods", 1},
		{"rs/web", apps + "replicasets/web", replicaSet(broken), "invalid selector", "kubectl describe", 1},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			a := newFakeAPI(t, map[string]any{test.path: test.object, core + "pods": podList()})
			_, err := a.client.Find(t.Context(), request(t, test.target))
			var none *NoPodsError
			if !errors.As(err, &none) {
				t.Fatalf("got %v, want a *NoPodsError", err)
			}
			if !strings.Contains(none.Error(), test.text) || !strings.Contains(none.Hint(), test.hint) {
				t.Errorf("got %q, hint %q; want %q, hint %q", none, none.Hint(), test.text, test.hint)
			}
			if got := len(a.received()); got != test.requests {
				t.Errorf("%d requests, want %d", got, test.requests)
			}
		})
	}
}

func TestFind_GetForbidden(t *testing.T) {
	const words = `pods "web" is forbidden: User "dev" cannot get resource "pods" in API group "" in the namespace "shop"`
	forbidden := errorStatus(http.StatusForbidden, metav1.StatusReasonForbidden, words)
	a := newFakeAPI(t, map[string]any{core + "pods/web": forbidden, apps + "deployments/web": forbidden})

	_, err := a.client.Find(t.Context(), request(t, "web"))
	var unseen *GetForbiddenError
	if !errors.As(err, &unseen) || !apierrors.IsForbidden(err) {
		t.Fatalf("got %v, want a *GetForbiddenError for which apierrors.IsForbidden is true", err)
	}
	if unseen.Err.Namespace != "shop" || unseen.Err.Target.Name != "web" || !strings.Contains(unseen.Error(), words) ||
		!strings.Contains(unseen.Hint(), "create role kshell --verb=get --resource=pods -n shop") {
		t.Errorf("got %q, hint %q", unseen, unseen.Hint())
	}

	_, err = a.client.Find(t.Context(), request(t, "deploy/web"))
	var refused *RequestError
	if errors.As(err, &unseen) || !errors.As(err, &refused) || !apierrors.IsForbidden(err) ||
		!strings.Contains(refused.Hint(), "create role kshell --verb=get --resource=deployments.apps -n shop") {
		t.Errorf("forbidden workload: got %v", err)
	}
}

func TestRequestError_Hint(t *testing.T) {
	unlisted := deployment(1)
	unlisted[core+"pods"] = errorStatus(http.StatusForbidden, metav1.StatusReasonForbidden, "pods is forbidden")
	tests := []struct {
		name, target string
		answers      map[string]any
		is           func(error) bool
		text, hint   string
	}{
		{
			"no such pod",
			"web",
			nil,
			apierrors.IsNotFound,
			`pod "web" does not exist in namespace "shop"`,
			"kubectl get pods -n shop",
		},
		{
			"no such deployment",
			"deploy/web",
			nil,
			apierrors.IsNotFound,
			`deployment "web" does not exist in namespace "shop"`,
			"kubectl get deployments -n shop",
		},
		{
			"bad token", "web",
			map[string]any{core + "pods/web": errorStatus(401, metav1.StatusReasonUnauthorized, "Unauthorized")},
			apierrors.IsUnauthorized,
			`cannot get pod "web" in namespace "shop": Unauthorized`, "log in again",
		},
		{
			"list forbidden",
			"deploy/web",
			unlisted,
			apierrors.IsForbidden,
			`cannot list pods in namespace "shop": pods is forbidden`,
			"create role kshell --verb=list --resource=pods -n shop",
		},
		{
			"no API server",
			"web",
			map[string]any{core + "pods/web": htmlPage{404}},
			apierrors.IsNotFound,
			`cannot get pod "web"`,
			"--server",
		},
		{
			"broken server", "web",
			map[string]any{core + "pods/web": errorStatus(500, metav1.StatusReasonInternalError, "etcd unavailable")},
			apierrors.IsInternalError,
			"etcd unavailable", "",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := newFakeAPI(t, test.answers).client.Find(t.Context(), request(t, test.target))
			var refused *RequestError
			if !errors.As(err, &refused) || !test.is(err) {
				t.Fatalf("got %v (%T), want a *RequestError with the same reason", err, err)
			}
			if !strings.Contains(refused.Error(), test.text) || !strings.Contains(refused.Hint(), test.hint) ||
				(test.hint == "") != (refused.Hint() == "") {
				t.Errorf("got %q, hint %q; want %q, hint %q", refused, refused.Hint(), test.text, test.hint)
			}
		})
	}
}

func TestFind_Canceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newFakeAPI(t, nil).client.Find(ctx, request(t, "web"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestFind_NamespaceIsOnePathSegment(t *testing.T) {
	a := newFakeAPI(t, nil)
	req := request(t, "web")
	req.Namespace = "../../.."
	if _, err := a.client.Find(t.Context(), req); err == nil || len(a.received()) != 0 {
		t.Errorf("got %v after %v; want an error before any request", err, a.received())
	}
}

func TestNewClient_InvalidConfig(t *testing.T) {
	for name, cfg := range map[string]*rest.Config{
		"certificate authority": {Host: "https://x", TLSClientConfig: rest.TLSClientConfig{CAFile: "/no/such/file"}},
		"host":                  {Host: "ht!tp://%%"},
	} {
		if _, err := NewClient(cfg, Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestNewClient_ConfigUnchanged(t *testing.T) {
	cfg := &rest.Config{Host: "http://127.0.0.1:1"}
	if _, err := NewClient(cfg, Options{}); err != nil {
		t.Fatal(err)
	}
	if cfg.GroupVersion != nil || cfg.NegotiatedSerializer != nil || cfg.QPS != 0 || cfg.WarningHandler != nil {
		t.Errorf("NewClient changed its argument: %+v", cfg.ContentConfig)
	}
}

func TestClient_NotThrottled(t *testing.T) {
	a := newFakeAPI(t, map[string]any{core + "pods/web": runningPod("web")})
	begin := time.Now()
	for range 60 {
		if _, err := a.client.Get(t.Context(), "shop", "web"); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("60 requests took %v; with the default limit of client-go they take 10 s", took)
	}
}

type warningRecorder struct{ received []string }

func (w *warningRecorder) HandleWarningHeader(_ int, _, text string) {
	w.received = append(w.received, text)
}

func TestClient_ServerWarnings(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Warning", `299 - "old"`)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(runningPod("web"))
	}))
	defer server.Close()
	standard, own := &warningRecorder{}, &warningRecorder{}
	rest.SetDefaultWarningHandler(standard)
	defer rest.SetDefaultWarningHandler(rest.WarningLogger{})
	for _, cfg := range []*rest.Config{{Host: server.URL}, {Host: server.URL, WarningHandler: own}} {
		client, err := NewClient(cfg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Get(t.Context(), "shop", "web"); err != nil {
			t.Fatal(err)
		}
	}
	if len(standard.received) != 0 || !cmp.Equal(own.received, []string{"old"}) {
		t.Errorf("warnings in the log %q, to the caller %q", standard.received, own.received)
	}
}
