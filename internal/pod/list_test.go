package pod

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

func reasons(skipped []Skipped) []string {
	var list []string
	for _, s := range skipped {
		list = append(list, s.Pod.Name+": "+s.Err.Error())
	}
	return list
}

func podContainers(running []Found) []string {
	var list []string
	for _, f := range running {
		list = append(list, f.Pod.Name+"/"+f.Container)
	}
	return list
}

func TestList_RunningAndSkipped(t *testing.T) {
	pods := podList(
		runningPod("web-c"), runningPod("web-a", annotated("app")), runningPod("web-b", phase(corev1.PodSucceeded)),
		runningPod("web-d", unscheduled), runningPod("web-e", deleting), manyContainers(),
	)
	answers := deployment(3)
	answers[core+"pods"] = pods
	for name, req := range map[string]Request{
		"selector": {Namespace: "shop", Selector: "app=web"},
		"workload": request(t, "deploy/web"),
		"all":      {Namespace: "shop"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newFakeAPI(t, answers)
			found, skipped, err := a.client.List(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"web/app", "web-a/app", "web-c/app", "web-e/app"}, podContainers(found)); diff != "" {
				t.Errorf("running: -want +got:\n%s", diff)
			}
			want := []string{
				`web-b: pod "web-b" has completed`,
				`web-d: pod "web-d" is not scheduled (Unschedulable): 0/2 nodes are available`,
			}
			if diff := cmp.Diff(want, reasons(skipped)); diff != "" {
				t.Errorf("skipped: -want +got:\n%s", diff)
			}
			if last := found[len(found)-1]; !slices.Equal(last.Notes, []string{`pod "web-e" is being deleted`}) {
				t.Errorf("notes %q", last.Notes)
			}
		})
	}
}

func TestList_UnknownContainer(t *testing.T) {
	a := newFakeAPI(t, map[string]any{core + "pods": podList(runningPod("web-a"), manyContainers())})
	found, skipped, err := a.client.List(t.Context(), Request{Namespace: "shop", Selector: "app=web", Container: "log"})
	if got := podContainers(found); err != nil || !slices.Equal(got, []string{"web/log"}) {
		t.Errorf("got %q, %v", got, err)
	}
	var unknown *UnknownContainerError
	if len(skipped) != 1 || !errors.As(skipped[0].Err, &unknown) || skipped[0].Pod.Name != "web-a" {
		t.Errorf("skipped %q", reasons(skipped))
	}
}

func TestList_Errors(t *testing.T) {
	a := newFakeAPI(t, map[string]any{core + "pods": podList()})
	for selector, words := range map[string]string{
		"app=web,tier!=a": `no pod in namespace "shop" has the labels app=web,tier!=a`,
		"":                `there are no pods in namespace "shop"`,
	} {
		_, _, err := a.client.List(t.Context(), Request{Namespace: "shop", Selector: selector})
		var none *NoPodsError
		if !errors.As(err, &none) || none.Error() != words || none.Hint() == "" {
			t.Errorf("%q: got %v", selector, err)
		}
	}
	for _, selector := range []string{"app=web=x", "a in", "=", "a\x1b[2J"} {
		_, _, err := a.client.List(t.Context(), Request{Namespace: "shop", Selector: selector})
		var wrong *TargetError
		if !errors.As(err, &wrong) || !strings.Contains(wrong.Hint(), "LABEL=VALUE") ||
			strings.Contains(wrong.Error(), "\x1b") {
			t.Errorf("%q: got %v, want a *TargetError", selector, err)
		}
	}
}

func TestFind_Selector(t *testing.T) {
	a := newFakeAPI(
		t,
		map[string]any{core + "pods": podList(runningPod("web-a", readyAt(5)), runningPod("web-b", readyAt(2)))},
	)
	got, err := a.client.Find(t.Context(), Request{Namespace: "shop", Selector: "app"})
	if err != nil || got.Pod.Name != "web-b" {
		t.Fatalf("got %v, %v", got, err)
	}
	if diff := cmp.Diff([]string{`the selector "app" has 2 pods: chose "web-b" (ready longest)`}, got.Notes); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var nothing *TargetError
	if _, err := a.client.Find(t.Context(), Request{Namespace: "shop"}); !errors.As(err, &nothing) {
		t.Errorf("empty request: got %v, want a *TargetError", err)
	}
}

func TestFind_RunningContainerPreferred(t *testing.T) {
	answers := deployment(2)
	answers[core+"pods"] = podList(
		runningPod("web-a", withStatuses(single(waitingState("CrashLoopBackOff", "")), nil, nil)),
		runningPod("web-b", unready),
	)
	got, err := newFakeAPI(t, answers).client.Find(t.Context(), request(t, "deploy/web"))
	if err != nil || got.Pod.Name != "web-b" {
		t.Fatalf("got %v, %v", got, err)
	}
	want := []string{`deployment/web has 2 pods: chose "web-b" (its container is running)`}
	if diff := cmp.Diff(want, got.Notes); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// pagedServer serves a list of many pods in pages of the requested size.
type pagedServer struct {
	pods     int
	expires  bool // the continue token expires
	requests []string
}

func (c *pagedServer) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	c.requests = append(c.requests, q.Get("limit")+" "+q.Get("continue"))
	from, _ := strconv.Atoi(q.Get("continue"))
	if from > 0 && c.expires {
		return response(r, http.StatusGone, body(errorStatus(410, metav1.StatusReasonExpired, "too old"))), nil
	}
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil {
		limit = c.pods
	}
	l := podList()
	l.ResourceVersion = "7"
	for i := from; i < min(from+limit, c.pods); i++ {
		l.Items = append(l.Items, *runningPod("web-" + strconv.Itoa(10000+i)))
	}
	if from+limit < c.pods {
		l.Continue = strconv.Itoa(from + limit)
	}
	return response(r, http.StatusOK, body(l)), nil
}

func TestList_Pages(t *testing.T) {
	tests := map[string]struct {
		server pagedServer
		want   []string
	}{
		"in order":                             {pagedServer{pods: 1234}, []string{"500 ", "500 500", "500 1000"}},
		"continue token expires":               {pagedServer{pods: 1234, expires: true}, []string{"500 ", "500 500", " "}},
		"exactly one page":                     {pagedServer{pods: 500}, []string{"500 "}},
		"one change, then the version expires": {pagedServer{pods: 1, expires: true}, []string{"500 "}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			client, err := NewClient(&rest.Config{Host: "http://server", Transport: &test.server}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			found, skipped, err := client.List(t.Context(), Request{Namespace: "shop", Selector: "app"})
			if err != nil || len(found) != test.server.pods || len(skipped) != 0 {
				t.Fatalf("%d running, %d skipped, %v; want %d", len(found), len(skipped), err, test.server.pods)
			}
			for i, f := range found {
				if want := "web-" + strconv.Itoa(10000+i); f.Pod.Name != want {
					t.Fatalf("pod %d is %s, want %s", i, f.Pod.Name, want)
				}
			}
			if diff := cmp.Diff(test.want, test.server.requests); diff != "" {
				t.Errorf("limit and continue: -want +got:\n%s", diff)
			}
		})
	}
}
