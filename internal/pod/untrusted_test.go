package pod

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
)

// withLabel sets the label app. The selectors of the tests match only app=web.
func withLabel(app string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Labels = map[string]string{"app": app, "tier": "a"} }
}

func TestFind_ServerIgnoresSelector(t *testing.T) {
	answers := deployment(2)
	answers[core+"pods"] = podList(runningPod("beta", withLabel("beta"), readyAt(0)), runningPod("alpha", readyAt(9)))
	client, ignored := newFakeAPI(t, answers).client, 0
	client.options.OnSelectorIgnored = func() { ignored++ }
	for _, req := range []Request{request(t, "deploy/web"), {Namespace: "shop", Selector: "app=web"}} {
		found, err := client.Find(t.Context(), req)
		if err != nil || found.Pod.Name != "alpha" || len(found.Notes) > 0 {
			t.Fatalf("%v: found %v, %v", req, found, err)
		}
		if running, skipped, err := client.List(t.Context(), req); err != nil || len(running) != 1 ||
			len(skipped) != 0 {
			t.Errorf("%v: %d run, %d do not, %v", req, len(running), len(skipped), err)
		}
	}
	if ignored != 4 {
		t.Errorf("reported %d times", ignored)
	}
	answers[core+"pods"] = podList(runningPod("beta", withLabel("beta")))
	var none *NoPodsError
	if _, err := client.Find(t.Context(), request(t, "deploy/web")); !errors.As(err, &none) {
		t.Errorf("got %v", err)
	}
}

// The watches of fakeServer send events about all pods, whatever the selector.
func TestWait_WatchIgnoresSelector(t *testing.T) {
	for _, target := range []string{"web", "deploy/web"} {
		t.Run(target, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFakeServer(runningPod("web", unscheduled), runningPod("gone", withLabel("beta")))
				w.deployment(1)
				client, ignored := w.client(t), false
				client.options.OnSelectorIgnored = func() { ignored = true }
				schedule(map[int]func(){
					1: func() { w.setPod(runningPod("other", withLabel("beta"))) },
					2: func() { w.deletePod("gone") },
					3: func() { w.setPod(runningPod("web")) },
				})
				begin := time.Now()
				found, err := client.Wait(withTimeout(t, 60), request(t, target), nil)
				if err != nil || found.Pod.Name != "web" || time.Since(begin) != 3*time.Second {
					t.Errorf("found %v after %v, %v", found, time.Since(begin), err)
				}
				if !ignored {
					t.Error("not reported")
				}
			})
		})
	}
}

func TestWait_PodLosesLabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", unscheduled))
		w.deployment(1)
		schedule(map[int]func(){
			1: func() { w.setPod(runningPod("web", withLabel("beta"))) },
			7: func() { w.setPod(runningPod("next")) },
		})
		found, err := w.client(t).Wait(withTimeout(t, 60), request(t, "deploy/web"), nil)
		if err != nil || found.Pod.Name != "next" {
			t.Errorf("found %v, %v", found, err)
		}
	})
}

func TestWatchChanges_WatchIgnoresSelector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web"), runningPod("other"))
		schedule(map[int]func(){
			1: func() { w.setPod(runningPod("other", deleting)) },
			2: func() { w.deletePod("other") },
			3: func() { w.deletePod("web") },
		})
		changes, err := watchChanges(t.Context(), t, w)
		if len(changes) != 1 || !strings.HasSuffix(changes[0], `3.0s pod "web" was deleted true`) || err != nil {
			t.Errorf("changes %q, %v", changes, err)
		}
	})
}

// Only a Status of the API server about the pod itself means that the pod is
// gone.
func TestDescribeChange_NotFoundOfAnotherObject(t *testing.T) {
	other := errorStatus(
		http.StatusNotFound,
		metav1.StatusReasonNotFound,
		"the server could not find the requested resource",
	)
	for name, answer := range map[string]any{"a page": htmlPage{404}, "a Status": other} {
		a := newFakeAPI(t, map[string]any{core + "pods/web": answer})
		sentence, ended, err := a.client.DescribeChange(t.Context(), &Found{Pod: runningPod("web"), Container: "app"})
		var refused *RequestError
		if ended || sentence != "" || !errors.As(err, &refused) ||
			!strings.Contains(refused.Hint(), "check `server:` in the kubeconfig") {
			t.Errorf("%s: changes %q, %v, %v", name, sentence, ended, err)
		}
	}
}

func TestFind_ServerDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web"))
		w.blocked = "get"
		begin := time.Now()
		_, err := w.client(t).Find(t.Context(), request(t, "web"))
		if want := `cannot get pod "web" in namespace "shop": no answer from http://server within 35s`; err == nil ||
			err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if took := time.Since(begin); took != apiclient.DefaultTimeout {
			t.Errorf("took %v", took)
		}
	})
}

func TestWatchChanges_HugeEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web"))
		schedule(map[int]func(){
			1: func() {
				w.setPod(runningPod("web", func(p *corev1.Pod) {
					p.Annotations = map[string]string{"huge": strings.Repeat("x", apiclient.MaxObject)}
				}))
			},
			2: func() { w.update(func() { w.pods["web"] = runningPod("web") }) },
			8: func() { w.deletePod("web") },
		})
		changes, err := watchChanges(t.Context(), t, w)
		if len(changes) != 1 || !strings.HasSuffix(changes[0], `pod "web" was deleted true`) || err != nil {
			t.Errorf("changes %q, %v", changes, err)
		}
	})
}

// List removes unused fields from each pod that it reads, so that a list of
// thousands of large pods takes little memory.
func TestList_PodsAreTrimmed(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes long with the race detector, and tests no goroutine")
	}
	const size, items = 100 << 10, 500
	large, err := json.Marshal(runningPod("web", func(p *corev1.Pod) {
		p.ManagedFields = []metav1.ManagedFieldsEntry{
			{Manager: "kubelet", FieldsV1: metav1.NewFieldsV1(`{"a":"` + strings.Repeat("x", size/4) + `"}`)},
		}
		p.Spec.Containers[0].Args = []string{strings.Repeat("y", size/4)}
		p.Spec.Volumes = []corev1.Volume{{Name: strings.Repeat("z", size/2)}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"kind":"PodList","items":[%s`, large)
		for range items - 1 {
			_, _ = fmt.Fprintf(w, ",%s", large)
		}
		_, _ = w.Write([]byte("]}"))
	}))
	t.Cleanup(server.Close)
	client, err := NewClient(&rest.Config{Host: server.URL}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := client.List(t.Context(), Request{Namespace: "shop"})
	if err != nil || len(found) != items {
		t.Fatalf("%d pods, %v", len(found), err)
	}
	kept := 0
	for _, f := range found {
		kept += f.Pod.Size()
	}
	if kept > items<<10 {
		t.Errorf("%d bytes were kept of %d", kept, items*len(large))
	}
}
