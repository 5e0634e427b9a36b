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

// world is an API server in memory, for bubbles of fake time: the transport of a
// Client. It keeps pods and their history, and serves get, list and watch of them,
// and whatever stands in objects by path.
type fakeServer struct {
	mu       sync.Mutex
	pods     map[string]*corev1.Pod
	history  []change
	version  int
	oldest   int           // a watch from before is told 410
	moved    chan struct{} // closed at each change
	objects  map[string]any
	requests []string // "get", "list", "watch", or a path; with the second since the start
	begin    time.Time

	refuse   func(kind string) any // an answer in place of the ordinary one, or nil
	hanging  string                // the answers to these requests do not come
	mute     bool                  // watches are accepted and show nothing
	outdated []*corev1.Pod         // what a watch from any version shows first
}

type change struct {
	version int
	event   []byte
}

func newFakeServer(pods ...*corev1.Pod) *fakeServer {
	w := &fakeServer{
		pods:    map[string]*corev1.Pod{},
		moved:   make(chan struct{}),
		objects: map[string]any{},
		begin:   time.Now(),
	}
	for _, pod := range pods {
		w.put(pod)
	}
	return w
}

func (w *fakeServer) client(t *testing.T) *Client {
	t.Helper()
	client, err := NewClient(&rest.Config{Host: "http://world", Transport: w})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// put makes or changes a pod.
func (w *fakeServer) put(pod *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := "MODIFIED"
	if w.pods[pod.Name] == nil {
		kind = "ADDED"
	}
	w.record(kind, pod)
	w.pods[pod.Name] = pod
}

func (w *fakeServer) delete(name string) {
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
	w.history = append(w.history, change{w.version, event})
	close(w.moved)
	w.moved = make(chan struct{})
}

// expire forgets the history.
func (w *fakeServer) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	w.oldest = w.version
	close(w.moved)
	w.moved = make(chan struct{})
}

func (w *fakeServer) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// asked is how often what was asked for.
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
	if w.refuse != nil {
		if instead := w.refuse(kind); instead != nil {
			if events, ok := answer.(io.Closer); ok {
				_ = events.Close()
			}
			answer = instead
		}
	}
	if kind == w.hanging {
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
	return path, refusal(http.StatusNotFound, metav1.StatusReasonNotFound, "no such path")
}

// watch sends what comes after version until its request ends. The selectors are
// not looked at, but for there being one.
func (w *fakeServer) watch(r *http.Request, version int) any {
	if q := r.URL.Query(); q.Get("fieldSelector") == "" && q.Get("labelSelector") == "" {
		return refusal(http.StatusBadRequest, metav1.StatusReasonBadRequest, "a watch on everything")
	}
	if accept := r.Header.Get("Accept"); accept != "application/json" {
		return refusal(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable, "only JSON, not "+accept)
	}
	reader, writer := io.Pipe()
	go func() {
		defer func() { _ = writer.CloseWithError(r.Context().Err()) }()
		for {
			w.mu.Lock()
			events, moved := w.after(version), w.moved
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

func (w *fakeServer) after(version int) [][]byte {
	if version > 0 && version < w.oldest {
		event, _ := json.Marshal(
			map[string]any{
				"type":   "ERROR",
				"object": refusal(410, metav1.StatusReasonExpired, "too old resource version"),
			},
		)
		return [][]byte{event}
	}
	var events [][]byte
	if version == 0 {
		for _, pod := range append(w.outdated, slices.Collect(maps.Values(w.pods))...) {
			event, _ := json.Marshal(map[string]any{"type": "ADDED", "object": pod})
			events = append(events, event)
		}
		return events
	}
	for _, c := range w.history {
		if c.version > version && !w.mute {
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
			return refusal(http.StatusForbidden, metav1.StatusReasonForbidden, "no "+kind)
		}
		return nil
	}
}

// script does what is listed for the seconds after the start, in the background.
func script(steps map[int]func()) {
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
