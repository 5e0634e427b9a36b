package pod

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// fakeServer is an API server in memory. A Client uses it as its transport, in
// place of a real connection, because the fake clock of synctest does not
// advance while a goroutine waits for a real connection. It serves get, list
// and watch of pods, and other objects by path.
type fakeServer struct {
	mu            sync.Mutex
	pods          map[string]*corev1.Pod
	history       []historyEvent
	version       int
	oldestVersion int           // a watch from an older version gets 410
	changed       chan struct{} // closed at each change
	objects       map[string]any
	requests      []string // "get", "list", "watch", or a path
	start         time.Time

	override     func(kind string) any // returns an answer that replaces the usual one, or nil
	blocked      string                // requests of this kind get no answer
	silentWatch  bool                  // watches send no events
	outdatedPods []*corev1.Pod         // a watch from version 0 sends these first
}

type historyEvent struct {
	version int
	event   []byte
}

func newFakeServer(pods ...*corev1.Pod) *fakeServer {
	w := &fakeServer{
		pods:    map[string]*corev1.Pod{},
		changed: make(chan struct{}),
		objects: map[string]any{},
		start:   time.Now(),
	}
	for _, pod := range pods {
		w.setPod(pod)
	}
	return w
}

func (w *fakeServer) client(t *testing.T) *Client {
	t.Helper()
	client, err := NewClient(&rest.Config{Host: "http://server", Transport: w}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// setPod creates or replaces a pod.
func (w *fakeServer) setPod(pod *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := "MODIFIED"
	if w.pods[pod.Name] == nil {
		kind = "ADDED"
	}
	w.record(kind, pod)
	w.pods[pod.Name] = pod
}

func (w *fakeServer) deletePod(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record("DELETED", w.pods[name])
	delete(w.pods, name)
}

func (w *fakeServer) record(kind string, pod *corev1.Pod) {
	w.version++
	pod.ResourceVersion = strconv.Itoa(w.version)
	event, err := json.Marshal(map[string]any{"type": kind, "object": pod})
	if err != nil {
		panic(err)
	}
	w.history = append(w.history, historyEvent{w.version, event})
	close(w.changed)
	w.changed = make(chan struct{})
}

// expire makes all versions of pods too old for a watch.
func (w *fakeServer) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	w.oldestVersion = w.version
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *fakeServer) update(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// received returns the number of requests of each kind.
func (w *fakeServer) received() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	count := map[string]int{}
	for _, kind := range w.requests {
		count[kind]++
	}
	return count
}

func (w *fakeServer) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind, answer := w.answer(r)
	w.requests = append(w.requests, kind)
	if w.override != nil {
		if instead := w.override(kind); instead != nil {
			if events, ok := answer.(io.Closer); ok {
				_ = events.Close()
			}
			answer = instead
		}
	}
	if kind == w.blocked {
		w.mu.Unlock()
		<-r.Context().Done()
		w.mu.Lock()
		if events, ok := answer.(io.Closer); ok {
			_ = events.Close()
		}
		return nil, r.Context().Err()
	}
	switch a := answer.(type) {
	case error:
		return nil, a
	case io.ReadCloser:
		return response(r, http.StatusOK, a), nil
	case metav1.Status:
		return response(r, int(a.Code), body(a)), nil
	default:
		return response(r, http.StatusOK, body(a)), nil
	}
}

func (w *fakeServer) answer(r *http.Request) (kind string, answer any) {
	path := strings.TrimPrefix(r.URL.Path, core)
	name, single := strings.CutPrefix(path, "pods/")
	object, other := w.objects[r.URL.Path]
	switch {
	case other:
		return path, object
	case single && w.pods[name] != nil:
		return "get", w.pods[name]
	case single:
		return "get", notFound(r.URL.Path)
	case path == "pods" && r.URL.Query().Get("watch") == "true":
		version, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
		return "watch", w.watch(r, version)
	case path == "pods":
		l := podList(slices.Collect(maps.Values(w.pods))...)
		l.ResourceVersion = strconv.Itoa(w.version)
		return "list", l
	}
	return path, errorStatus(http.StatusNotFound, metav1.StatusReasonNotFound, "no such path")
}

// watch sends the events after version until the request ends. It requires a
// selector, but does not apply it.
func (w *fakeServer) watch(r *http.Request, version int) any {
	if q := r.URL.Query(); q.Get("fieldSelector") == "" && q.Get("labelSelector") == "" {
		return errorStatus(http.StatusBadRequest, metav1.StatusReasonBadRequest, "a watch on everything")
	}
	if accept := r.Header.Get("Accept"); accept != "application/json" {
		return errorStatus(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable, "only JSON, not "+accept)
	}
	reader, writer := io.Pipe()
	go func() {
		defer func() { _ = writer.CloseWithError(r.Context().Err()) }()
		for {
			w.mu.Lock()
			events, moved := w.eventsAfter(version), w.changed
			version = max(w.version, 1)
			w.mu.Unlock()
			for _, event := range events {
				if _, err := writer.Write(append(event, '\n')); err != nil {
					return
				}
			}
			select {
			case <-moved:
			case <-r.Context().Done():
				return
			}
		}
	}()
	return reader
}

func (w *fakeServer) eventsAfter(version int) [][]byte {
	if version > 0 && version < w.oldestVersion {
		event, _ := json.Marshal(
			map[string]any{
				"type":   "ERROR",
				"object": errorStatus(410, metav1.StatusReasonExpired, "too old resource version"),
			},
		)
		return [][]byte{event}
	}
	var events [][]byte
	if version == 0 {
		for _, pod := range append(w.outdatedPods, slices.Collect(maps.Values(w.pods))...) {
			event, _ := json.Marshal(map[string]any{"type": "ADDED", "object": pod})
			events = append(events, event)
		}
		return events
	}
	for _, c := range w.history {
		if c.version > version && !w.silentWatch {
			events = append(events, c.event)
		}
	}
	return events
}

func body(v any) io.ReadCloser {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return io.NopCloser(bytes.NewReader(text))
}

func response(r *http.Request, code int, body io.ReadCloser) *http.Response {
	return &http.Response{
		StatusCode: code, Status: fmt.Sprint(code), ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Request: r,
	}
}

func forbid(kinds ...string) func(string) any {
	return func(kind string) any {
		if slices.Contains(kinds, kind) {
			return errorStatus(http.StatusForbidden, metav1.StatusReasonForbidden, "no "+kind)
		}
		return nil
	}
}

// schedule runs each step in the background. The key of a step is the number of
// seconds after which it runs.
func schedule(steps map[int]func()) {
	for second, step := range steps {
		time.AfterFunc(time.Duration(second)*time.Second, step)
	}
}

func (w *fakeServer) deployment(replicas int32) {
	w.objects[apps+"deployments/web"] = appsv1.Deployment{
		TypeMeta: typeMeta("apps/v1", "Deployment"), ObjectMeta: named,
		Spec: appsv1.DeploymentSpec{Selector: selector, Replicas: &replicas},
	}
}
