//go:build unix

package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/coder/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"kshell/internal/sandbox"
)

// object is the part of an object that the tests use.
type object struct {
	Kind, APIVersion string
	Metadata         struct{ Name, UID, ResourceVersion, Continue string }
}

// readObject reads an event of the type want.
func (e events) readObject(want watch.EventType) object {
	e.t.Helper()
	ev, err := e.read()
	if err != nil || ev.Type != want {
		e.t.Fatalf("got %s, %v, want %s", ev.Type, err, want)
	}
	var o object
	if err := json.Unmarshal(ev.Object, &o); err != nil {
		e.t.Fatal(err)
	}
	return o
}

func TestWatch_Bookmark(t *testing.T) {
	for name, open := range watchers {
		t.Run(name, func(t *testing.T) {
			s := start(t, sandbox.Config{Empty: true})
			s.Put("cronjobs", &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "first"}})
			const path = "/apis/batch/v1/namespaces/default/cronjobs?watch=1"
			without := open(t, s, path)
			with := open(t, s, path+"&allowWatchBookmarks=true")
			for _, w := range []events{without, with} {
				w.readObject(watch.Added)
			}
			s.Bookmark()
			mark := with.readObject(watch.Bookmark)
			s.Put("cronjobs", &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "second"}})
			for _, w := range []events{without, with} {
				if o := w.readObject(watch.Added); o.Metadata.Name != "second" {
					t.Errorf("got %+v, want the object second", o)
				}
			}
			if mark.Kind != "CronJob" || mark.APIVersion != "batch/v1" || mark.Metadata.ResourceVersion == "" {
				t.Errorf("the bookmark is %+v", mark)
			}
			again := open(t, s, path+"&resourceVersion="+mark.Metadata.ResourceVersion)
			if o := again.readObject(watch.Added); o.Metadata.Name != "second" {
				t.Errorf("after the bookmark: got %+v, want the object second", o)
			}
		})
	}
}

func TestEndWatches(t *testing.T) {
	for name, open := range watchers {
		t.Run(name, func(t *testing.T) {
			s := start(t, sandbox.Config{Empty: true})
			w := open(t, s, "/api/v1/nodes?watch=1")
			w.readObject(watch.Added)
			w.readObject(watch.Added)
			s.EndWatches()
			_, err := w.read()
			if !errors.Is(err, io.EOF) && websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				t.Errorf("got %v, want a normal end", err)
			}
			open(t, s, "/api/v1/nodes?watch=1").readObject(watch.Added) // later watches are not ended
		})
	}
}

func TestPut(t *testing.T) {
	s := start(t, sandbox.Config{Empty: true})
	w := watchHTTP(t, s, "/api/v1/nodes?watch=1")
	w.readObject(watch.Added)
	w.readObject(watch.Added)
	node := func(unschedulable bool) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node3"}, Spec: corev1.NodeSpec{Unschedulable: unschedulable}}
	}
	s.Put("nodes", node(false))
	added := w.readObject(watch.Added)
	s.Put("nodes", node(true))
	changed := w.readObject(watch.Modified)
	s.Remove("nodes", "", "node3")
	gone := w.readObject(watch.Deleted)
	if uid := added.Metadata.UID; uid == "" || changed.Metadata.UID != uid || gone.Metadata.UID != uid {
		t.Errorf("the UID has changed: %+v, %+v, %+v", added, changed, gone)
	}
	s.Remove("nodes", "", "node3")
}

func TestList_Pages(t *testing.T) {
	s := start(t, sandbox.Config{Empty: true})
	for i := range 5 {
		s.Put("services", &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("s%d", i)}})
	}
	const path = "/api/v1/namespaces/default/services?limit=2"
	type list struct {
		object
		Items []object
	}
	var names []string
	pages, next := 0, ""
	for {
		var l list
		if code := callAPI(t, s, http.MethodGet, path+"&continue="+next, nil, &l); code != http.StatusOK {
			t.Fatalf("the answer is %d", code)
		}
		for _, item := range l.Items {
			names = append(names, item.Metadata.Name)
		}
		pages++
		if next = l.Metadata.Continue; next == "" {
			break
		}
	}
	if want := []string{"s0", "s1", "s2", "s3", "s4"}; !slices.Equal(names, want) || pages != 3 {
		t.Errorf("got %q in %d pages, want %q in 3", names, pages, want)
	}
	var first list
	callAPI(t, s, http.MethodGet, path, nil, &first)
	s.Expire()
	var st metav1.Status
	code := callAPI(t, s, http.MethodGet, path+"&continue="+first.Metadata.Continue, nil, &st)
	if code != http.StatusGone || st.Reason != metav1.StatusReasonExpired {
		t.Errorf("got %d %s, want 410 Expired", code, st.Reason)
	}
	for _, query := range []string{"limit=x", "limit=-1", "continue=x"} {
		if code := callAPI(t, s, http.MethodGet, "/api/v1/nodes?"+query, nil, &st); code != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", query, code)
		}
	}
}
