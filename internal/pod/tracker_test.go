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
	w.set(func() { w.requests = nil })
	return found
}

// vigil watches over web, and gives what was told, each with the second.
func watchChanges(ctx context.Context, t *testing.T, w *fakeServer) ([]string, error) {
	t.Helper()
	begin := time.Now()
	var told []string
	err := w.client(t).WatchChanges(ctx, mustFind(w, t), func(sentence string, over bool) {
		told = append(told, fmt.Sprintf("%.1fs %s %v", time.Since(begin).Seconds(), sentence, over))
	})
	return told, err
}

// dying is a pod that is deleted two minutes after the start.
func markDeleted(w *fakeServer) {
	time.AfterFunc(121500*time.Millisecond, func() { w.put(runningPod("web", gracePeriod(30))) })
	time.AfterFunc(123500*time.Millisecond, func() { w.delete("web") })
}

func TestWatchChanges_Deletion(t *testing.T) {
	for name, change := range map[string]func(*fakeServer){
		"ordinary": func(*fakeServer) {},
		"a pod that has not changed for so long that the server has forgotten": (*fakeServer).expire,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFakeServer(runningPod("web"))
				change(w)
				markDeleted(w)
				told, err := watchChanges(t.Context(), t, w)
				want := []string{
					`121.5s pod "web" is being deleted (grace period 30 s) false`,
					`123.5s pod "web" was deleted true`,
				}
				if diff := cmp.Diff(want, told); diff != "" || err != nil {
					t.Errorf("error %v; -want +got:\n%s", err, diff)
				}
				if got := w.received(); got["get"] > 4 || got["watch"] > 4 {
					t.Errorf("asked for %v in two minutes", got)
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
				client.RunWatch = func(_ context.Context, path string, query url.Values, each func([]byte) error) bool {
					asked = path + "?" + query.Encode()
					if !open {
						return false
					}
					event, err := json.Marshal(
						map[string]any{"type": "DELETED", "object": runningPod("web", resourceVersion("9"))},
					)
					if err != nil {
						t.Error(err)
					}
					if each(event) == nil {
						t.Error("a watch goes on behind what ends it")
					}
					return true
				}
				time.AfterFunc(time.Second, func() { w.delete("web") })
				told := ""
				if err := client.WatchChanges(t.Context(), f, func(sentence string, _ bool) { told += sentence }); err != nil {
					t.Fatal(err)
				}
				if want := "/api/v1/namespaces/shop/pods?fieldSelector=metadata.name%3Dweb&resourceVersion=1&watch=true"; asked != want {
					t.Errorf("asked for %s, want %s", asked, want)
				}
				if told != `pod "web" was deleted` {
					t.Errorf("told %q", told)
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
		w.refuse = forbid("watch")
		markDeleted(w)
		told, err := watchChanges(t.Context(), t, w)
		if diff := cmp.Diff([]string{`125.0s pod "web" was deleted true`}, told); diff != "" || err != nil {
			t.Errorf("error %v; -want +got:\n%s", err, diff)
		}
	})
}

func TestWatchChanges_End(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the session is over")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(90*time.Second, func() { cancel(cause) })
		if told, err := watchChanges(ctx, t, newFakeServer(runningPod("web"))); !errors.Is(err, cause) || told != nil {
			t.Errorf("context: got %v, told %q", err, told)
		}

		w := newFakeServer(runningPod("web"))
		time.AfterFunc(7*time.Second, func() { w.set(func() { w.refuse = forbid("get", "watch") }) })
		var refused *RequestError
		if told, err := watchChanges(t.Context(), t, w); !errors.As(err, &refused) || !apierrors.IsForbidden(err) ||
			told != nil {
			t.Errorf("right: got %v, told %q", err, told)
		}

		w = newFakeServer(runningPod("web"))
		w.mute = true
		begin := time.Now()
		time.AfterFunc(
			7*time.Second,
			func() { w.put(runningPod("web", inState(exited(1, ""), corev1.ContainerState{}, 0))) },
		)
		if told, err := watchChanges(t.Context(), t, w); err != nil || len(told) != 1 ||
			time.Since(begin) > time.Minute {
			t.Errorf("silent watch: got %v, told %q", err, told)
		}
	})
}

func TestWatchChanges_ServerUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web"))
		time.AfterFunc(time.Second, func() {
			w.set(func() { w.refuse = func(string) any { return errors.New("connection refused") } })
		})
		time.AfterFunc(120*time.Second, func() { w.set(func() { w.refuse = nil }) })
		markDeleted(w)
		told, err := watchChanges(t.Context(), t, w)
		if err != nil || len(told) == 0 || !strings.HasSuffix(told[len(told)-1], `pod "web" was deleted true`) {
			t.Errorf("got %v, told %q", err, told)
		}
	})
}

func TestClient_DescribeChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web"))
		client, f := w.client(t), mustFind(w, t)
		if sentence, over, err := client.DescribeChange(t.Context(), f); sentence != "" || over || err != nil {
			t.Errorf("as before: got %q, %v, %v", sentence, over, err)
		}
		w.delete("web")
		if sentence, over, err := client.DescribeChange(t.Context(), f); sentence != `pod "web" was deleted` || !over ||
			err != nil {
			t.Errorf("deleted: got %q, %v, %v", sentence, over, err)
		}
		w.refuse = forbid("get")
		var refused *RequestError
		if sentence, over, err := client.DescribeChange(t.Context(), f); sentence != "" || over ||
			!errors.As(err, &refused) {
			t.Errorf("refused: got %q, %v, %v", sentence, over, err)
		}
		if got := w.received()["get"]; got != 3 {
			t.Errorf("%d requests, want 3", got)
		}
	})
}
