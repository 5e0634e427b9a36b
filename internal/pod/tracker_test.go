package pod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func mustFind(w *fakeServer, t *testing.T) *Found {
	t.Helper()
	found, err := w.client(t).Find(t.Context(), request(t, "web"))
	if err != nil {
		t.Fatal(err)
	}
	w.update(func() { w.requests = nil })
	return found
}

// watchChanges returns the changes that WatchChanges reports for pod web, each
// preceded by the seconds that had passed.
func watchChanges(ctx context.Context, t *testing.T, w *fakeServer) ([]string, error) {
	t.Helper()
	begin := time.Now()
	var changes []string
	err := w.client(t).WatchChanges(ctx, mustFind(w, t), func(sentence string, ended bool) {
		changes = append(changes, fmt.Sprintf("%.1fs %s %v", time.Since(begin).Seconds(), sentence, ended))
	})
	return changes, err
}

// markDeleted schedules the deletion of pod web after two minutes.
func markDeleted(w *fakeServer) {
	time.AfterFunc(121500*time.Millisecond, func() { w.setPod(runningPod("web", deletingWithin(30))) })
	time.AfterFunc(123500*time.Millisecond, func() { w.deletePod("web") })
}

func TestWatchChanges_Deletion(t *testing.T) {
	for name, change := range map[string]func(*fakeServer){
		"recent pod":                    func(*fakeServer) {},
		"pod whose version has expired": (*fakeServer).expire,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFakeServer(runningPod("web"))
				change(w)
				markDeleted(w)
				changes, err := watchChanges(t.Context(), t, w)
				want := []string{
					`121.5s pod "web" is being deleted (grace period 30 s) false`,
					`123.5s pod "web" was deleted true`,
				}
				if diff := cmp.Diff(want, changes); diff != "" || err != nil {
					t.Errorf("error %v; -want +got:\n%s", err, diff)
				}
				if got := w.received(); got["get"] > 4 || got["watch"] > 4 {
					t.Errorf("requests in two minutes: %v", got)
				}
			})
		})
	}
}

func TestWatchChanges_RunWatch(t *testing.T) {
	for _, open := range []bool{true, false} {
		t.Run(fmt.Sprint(open), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFakeServer(runningPod("web"))
				client, f := w.client(t), mustFind(w, t)
				asked := ""
				client.options.RunWatch = func(_ context.Context, path string, query url.Values, each func([]byte) error) bool {
					asked = path + "?" + query.Encode()
					if !open {
						return false
					}
					event, err := json.Marshal(
						map[string]any{"type": "DELETED", "object": runningPod("web", withVersion("9"))},
					)
					if err != nil {
						t.Error(err)
					}
					if each(event) == nil {
						t.Error("the watch continues after the last event")
					}
					return true
				}
				time.AfterFunc(time.Second, func() { w.deletePod("web") })
				changes := ""
				if err := client.WatchChanges(t.Context(), f, func(sentence string, _ bool) { changes += sentence }); err != nil {
					t.Fatal(err)
				}
				want := "/api/v1/namespaces/shop/pods?fieldSelector=metadata.name%3Dweb&resourceVersion=1&watch=true"
				if asked != want {
					t.Errorf("requested %s, want %s", asked, want)
				}
				if changes != `pod "web" was deleted` {
					t.Errorf("changes %q", changes)
				}
				if got := w.received()["watch"]; open != (got == 0) {
					t.Errorf("%d watches by HTTP", got)
				}
			})
		})
	}
}

func TestWatchChanges_WatchForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web"))
		w.override = forbid("watch")
		markDeleted(w)
		changes, err := watchChanges(t.Context(), t, w)
		if diff := cmp.Diff([]string{`125.0s pod "web" was deleted true`}, changes); diff != "" || err != nil {
			t.Errorf("error %v; -want +got:\n%s", err, diff)
		}
	})
}

func TestWatchChanges_End(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the session is ended")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(90*time.Second, func() { cancel(cause) })
		if changes, err := watchChanges(ctx, t, newFakeServer(runningPod("web"))); !errors.Is(err, cause) ||
			changes != nil {
			t.Errorf("context: got %v, changes %q", err, changes)
		}

		w := newFakeServer(runningPod("web"))
		time.AfterFunc(7*time.Second, func() { w.update(func() { w.override = forbid("get", "watch") }) })
		var refused *RequestError
		if changes, err := watchChanges(t.Context(), t, w); !errors.As(err, &refused) || !apierrors.IsForbidden(err) ||
			changes != nil {
			t.Errorf("get forbidden: got %v, changes %q", err, changes)
		}

		w = newFakeServer(runningPod("web"))
		w.silentWatch = true
		begin := time.Now()
		time.AfterFunc(
			7*time.Second,
			func() { w.setPod(runningPod("web", inState(exited(1, ""), corev1.ContainerState{}, 0))) },
		)
		if changes, err := watchChanges(t.Context(), t, w); err != nil || len(changes) != 1 ||
			time.Since(begin) > time.Minute {
			t.Errorf("silent watch: got %v, changes %q", err, changes)
		}
	})
}

func TestWatchChanges_ServerUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web"))
		time.AfterFunc(time.Second, func() {
			w.update(func() { w.override = func(string) any { return errors.New("connection refused") } })
		})
		time.AfterFunc(120*time.Second, func() { w.update(func() { w.override = nil }) })
		markDeleted(w)
		changes, err := watchChanges(t.Context(), t, w)
		if err != nil || len(changes) == 0 ||
			!strings.HasSuffix(changes[len(changes)-1], `pod "web" was deleted true`) {
			t.Errorf("got %v, changes %q", err, changes)
		}
	})
}

func TestClient_DescribeChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web"))
		client, f := w.client(t), mustFind(w, t)
		if sentence, ended, err := client.DescribeChange(t.Context(), f); sentence != "" || ended || err != nil {
			t.Errorf("no change: got %q, %v, %v", sentence, ended, err)
		}
		w.deletePod("web")
		if sentence, ended, err := client.DescribeChange(t.Context(), f); sentence != `pod "web" was deleted` ||
			!ended ||
			err != nil {
			t.Errorf("deleted: got %q, %v, %v", sentence, ended, err)
		}
		w.override = forbid("get")
		var refused *RequestError
		if sentence, ended, err := client.DescribeChange(t.Context(), f); sentence != "" || ended ||
			!errors.As(err, &refused) {
			t.Errorf("forbidden: got %q, %v, %v", sentence, ended, err)
		}
		if got := w.received()["get"]; got != 3 {
			t.Errorf("%d requests, want 3", got)
		}
	})
}
