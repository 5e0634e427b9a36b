package pod

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAPI is an HTTP server with a fixed answer for each path in a map. It
// answers any other path with 404.
type fakeAPI struct {
	mu       sync.Mutex
	requests []string // "METHOD path?query"
	client   *Client
}

func newFakeAPI(t *testing.T, answers map[string]any) *fakeAPI {
	t.Helper()
	a := &fakeAPI{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.requests = append(a.requests, r.Method+" "+r.URL.RequestURI())
		a.mu.Unlock()
		answer, ok := answers[r.URL.Path]
		if !ok {
			answer = notFound(r.URL.Path)
		}
		if html, ok := answer.(htmlPage); ok {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(html.code)
			_, _ = w.Write([]byte("<html>no</html>"))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if status, ok := answer.(metav1.Status); ok {
			w.WriteHeader(int(status.Code))
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	client, err := NewClient(&rest.Config{Host: server.URL}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a.client = client
	return a
}

// htmlPage is the answer of a server that is not an API server.
type htmlPage struct{ code int }

func (a *fakeAPI) received() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests
}

func errorStatus(code int32, reason metav1.StatusReason, message string) metav1.Status {
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	}
}

// notFound returns the answer of an API server that has no object at a path.
func notFound(at string) metav1.Status {
	status := errorStatus(http.StatusNotFound, metav1.StatusReasonNotFound, "not found")
	status.Details = &metav1.StatusDetails{Kind: path.Base(path.Dir(at)), Name: path.Base(at)}
	return status
}

func typeMeta(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

func podList(pods ...*corev1.Pod) corev1.PodList {
	l := corev1.PodList{TypeMeta: typeMeta("v1", "PodList"), Items: []corev1.Pod{}}
	for _, pod := range pods {
		l.Items = append(l.Items, *pod)
	}
	return l
}

var epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// atMinute returns epoch plus a number of minutes.
func atMinute(minutes int) metav1.Time {
	return metav1.NewTime(epoch.Add(time.Duration(minutes) * time.Minute))
}

// runningPod returns a ready pod with one running container, "app".
func runningPod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		TypeMeta: typeMeta("v1", "Pod"),
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "shop", UID: types.UID("uid-" + name), CreationTimestamp: atMinute(0),
			Labels: map[string]string{"app": "web", "tier": "a"},
		},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "app"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning,
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: atMinute(1)},
			},
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "app", ContainerID: "containerd://1",
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
			}},
		},
	}
	for _, f := range change {
		f(pod)
	}
	return pod
}

func ownedBy(uid types.UID) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		yes := true
		pod.OwnerReferences = []metav1.OwnerReference{{UID: uid, Controller: &yes}}
	}
}

func exited(code int32, reason string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}}
}

func waitingState(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func runningState() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
}

func pointer[T any](v T) *T { return &v }
