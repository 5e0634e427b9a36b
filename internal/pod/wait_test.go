package pod

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// waitResult is the result of Client.Wait: the reported reasons, each preceded
// by the seconds that had passed, and how the wait ended.
type waitResult struct {
	reasons []string
	hints   []string // for each reason
	found   *Found
	err     error
	elapsed time.Duration
}

func wait(ctx context.Context, t *testing.T, w *fakeServer, target, container string) waitResult {
	t.Helper()
	req := request(t, target)
	req.Container = container
	client, begin := w.client(t), time.Now()
	var got waitResult
	got.found, got.err = client.Wait(ctx, req, func(reason Reason) {
		got.hints = append(got.hints, reason.Hint)
		got.reasons = append(got.reasons, fmt.Sprintf("%ds %s", int(time.Since(begin).Seconds()), reason.Text))
	})
	got.elapsed = time.Since(begin)
	return got
}

func withTimeout(t *testing.T, seconds int) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seconds)*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func unscheduled(pod *corev1.Pod) {
	pod.Spec.NodeName, pod.Status.Phase, pod.Status.ContainerStatuses = "", corev1.PodPending, nil
	pod.Status.Conditions = []corev1.PodCondition{{
		Type:    corev1.PodScheduled,
		Status:  corev1.ConditionFalse,
		Reason:  "Unschedulable",
		Message: "0/2 nodes are available.",
	}}
}

// waitingFor makes the pod pending and its container waiting.
func waitingFor(reason, message string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Status.Phase, pod.Status.ContainerStatuses = corev1.PodPending, single(waitingState(reason, message))
	}
}

func TestWait_AlreadyRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web"))
		got := wait(withTimeout(t, 60), t, w, "web", "")
		if got.err != nil || got.found.Container != "app" || got.elapsed != 0 || got.reasons != nil {
			t.Errorf("got %+v", got)
		}
		if diff := cmp.Diff(map[string]int{"get": 1}, w.received()); diff != "" {
			t.Errorf("requests: -want +got:\n%s", diff)
		}
	})
}

func TestWait_ReportsEachReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", unscheduled))
		schedule(map[int]func(){
			2: func() { w.setPod(runningPod("web", waitingFor("ContainerCreating", ""))) },
			3: func() { w.setPod(runningPod("web", waitingFor("ContainerCreating", ""), createdAt(1))) }, // no new reason
			7: func() { w.setPod(runningPod("web", waitingFor("CreateContainerConfigError", `secret "s" not found`))) },
			9: func() { w.setPod(runningPod("web")) },
		})
		got := wait(withTimeout(t, 60), t, w, "web", "")
		if got.err != nil || got.found.Pod.Name != "web" || got.elapsed != 9*time.Second {
			t.Errorf("ended with %v, %v after %v", got.found, got.err, got.elapsed)
		}
		want := []string{
			`0s pod "web" is not scheduled (Unschedulable): 0/2 nodes are available`,
			`2s container "app" of pod "web" is waiting (ContainerCreating)`,
			`7s container "app" of pod "web" is waiting (CreateContainerConfigError): secret "s" not found`,
		}
		if diff := cmp.Diff(want, got.reasons); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if got := w.received()["get"]; got != 2 {
			t.Errorf("%d requests besides the watch in 9 s, want 2", got)
		}
	})
}

func TestWait_WatchForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", unscheduled))
		w.override = forbid("watch")
		time.AfterFunc(4500*time.Millisecond, func() { w.setPod(runningPod("web")) })
		got := wait(withTimeout(t, 60), t, w, "web", "")
		if got.err != nil || got.elapsed != 5*time.Second || len(got.reasons) != 1 {
			t.Errorf("got %+v", got)
		}
		if diff := cmp.Diff(map[string]int{"get": 6, "watch": 1}, w.received()); diff != "" {
			t.Errorf("requests: -want +got:\n%s", diff)
		}
	})
}

func TestWait_WatchFails(t *testing.T) {
	tests := map[string]struct {
		change func(*fakeServer)
		within time.Duration
	}{
		"events delayed by a proxy":    {func(w *fakeServer) { w.blocked = "watch" }, time.Second},
		"silent":                       {func(w *fakeServer) { w.silentWatch = true }, waitWatchAge},
		"version too old, ERROR event": {func(w *fakeServer) { w.oldestVersion = 2 }, 0},
		"version too old, HTTP status 410": {func(w *fakeServer) {
			w.override = func(kind string) any {
				if kind == "watch" && len(w.requests) < 4 {
					return errorStatus(410, metav1.StatusReasonExpired, "too old")
				}
				return nil
			}
		}, 0},
		"server errors for a while": {func(w *fakeServer) {
			w.override = func(kind string) any {
				if kind == "watch" && len(w.requests) < 4 {
					return errorStatus(500, metav1.StatusReasonInternalError, "ouch")
				}
				return nil
			}
		}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFakeServer(runningPod("web", unscheduled))
				test.change(w)
				const runs = 8500 * time.Millisecond
				time.AfterFunc(
					1500*time.Millisecond,
					func() { w.setPod(runningPod("web", waitingFor("ContainerCreating", ""))) },
				)
				time.AfterFunc(runs, func() { w.setPod(runningPod("web")) })
				got := wait(withTimeout(t, 60), t, w, "web", "")
				if got.err != nil || got.elapsed < runs || got.elapsed > runs+test.within {
					t.Errorf(
						"ended after %v with %v; want %v, and %v more at most",
						got.elapsed,
						got.err,
						runs,
						test.within,
					)
				}
				if got := w.received(); got["watch"] == 0 || got["get"] > 9 {
					t.Errorf("requests %v", got)
				}
			})
		})
	}
}

func TestWait_WatchExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", unscheduled))
		schedule(map[int]func(){
			2: w.expire,
			4: func() { w.setPod(runningPod("web")) },
		})
		if got := wait(withTimeout(t, 60), t, w, "web", ""); got.err != nil || got.elapsed != 4*time.Second {
			t.Errorf("ended after %v with %v", got.elapsed, got.err)
		}
	})
}

func TestWait_StaleWatchEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", unscheduled), runningPod("web", unscheduled))
		w.outdatedPods = []*corev1.Pod{
			runningPod("web", withVersion("1"), func(pod *corev1.Pod) { pod.UID = "earlier" }),
		}
		w.expire()
		schedule(map[int]func(){4: func() { w.setPod(runningPod("web")) }})
		if got := wait(withTimeout(t, 60), t, w, "web", ""); got.err != nil || got.elapsed != 4*time.Second {
			t.Errorf("ended after %v with %v", got.elapsed, got.err)
		}
	})
}

func TestWait_PermanentStates(t *testing.T) {
	never := withRestartPolicy(corev1.RestartPolicyNever)
	tests := []struct {
		name string
		pod  *corev1.Pod
		then func(*fakeServer) // called after 1.9 s; nil if the wait must end at once
		text string
	}{
		{"pod has succeeded", runningPod("web", phase(corev1.PodSucceeded)), nil, "has completed"},
		{
			"pod fails",
			runningPod("web", unscheduled),
			func(w *fakeServer) { w.setPod(runningPod("web", phase(corev1.PodFailed))) },
			"has failed",
		},
		{
			"container ended for good",
			runningPod("web", unscheduled),
			func(w *fakeServer) {
				w.setPod(runningPod("web", never, withStatuses(single(exited(3, "Error")), nil, nil)))
			}, "has ended with exit code 3",
		},
		{
			"pod is deleted",
			runningPod("web", unscheduled),
			func(w *fakeServer) { w.deletePod("web") },
			`pod "web" was deleted while kshell waited for it`,
		},
		{
			"deletion begins",
			runningPod("web", unscheduled),
			func(w *fakeServer) { w.setPod(runningPod("web", unscheduled, deleting)) }, "the pod is being deleted",
		},
		{
			"another pod of the same name",
			runningPod("web", unscheduled),
			func(w *fakeServer) { w.setPod(runningPod("web", func(pod *corev1.Pod) { pod.UID = "other" })) },
			"was deleted while kshell waited for it",
		},
	}
	for _, test := range tests {
		for _, forbidden := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, forbidden %v", test.name, forbidden), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newFakeServer(test.pod)
					if forbidden {
						w.override = forbid("watch")
					}
					at := 0
					if test.then != nil {
						at = 2
						time.AfterFunc(1900*time.Millisecond, func() { test.then(w) })
					}
					got := wait(withTimeout(t, 60), t, w, "web", "")
					var stopped *NotRunningError
					if !errors.As(got.err, &stopped) || !stopped.Permanent ||
						!strings.Contains(stopped.Error(), test.text) ||
						stopped.Hint() == "" {
						t.Errorf("got %v, want a permanent *NotRunningError with %q", got.err, test.text)
					}
					var waitErr *WaitError
					if errors.As(got.err, &waitErr) || int(got.elapsed.Round(time.Second).Seconds()) != at {
						t.Errorf("ended after %v with %v, want %d s", got.elapsed, got.err, at)
					}
				})
			})
		}
	}
}

func TestWait_UnknownContainerOrPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", unscheduled))
		var unknown *UnknownContainerError
		if got := wait(withTimeout(t, 60), t, w, "web", "nope"); !errors.As(got.err, &unknown) || got.elapsed != 0 {
			t.Errorf("container: got %v after %v", got.err, got.elapsed)
		}
		var refused *RequestError
		if got := wait(withTimeout(t, 60), t, w, "wep", ""); !errors.As(got.err, &refused) || got.elapsed != 0 {
			t.Errorf("pod: got %v after %v", got.err, got.elapsed)
		}
		w.override = forbid("get")
		var unseen *GetForbiddenError
		if got := wait(withTimeout(t, 60), t, w, "web", ""); !errors.As(got.err, &unseen) || got.elapsed != 0 {
			t.Errorf("get forbidden: got %v after %v", got.err, got.elapsed)
		}
		var nothing *TargetError
		if _, err := w.client(t).Wait(t.Context(), Request{Namespace: "shop"}, nil); !errors.As(err, &nothing) {
			t.Errorf("empty request: got %v", err)
		}
	})
}

func TestWait_TimeoutReportsLastReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", unscheduled))
		schedule(map[int]func(){
			5: func() { w.setPod(runningPod("web", waitingFor("ErrImagePull", "no such image"))) },
		})
		got := wait(withTimeout(t, 60), t, w, "web", "")
		var waitErr *WaitError
		var stopped *NotRunningError
		if !errors.As(got.err, &waitErr) || !errors.Is(got.err, context.DeadlineExceeded) ||
			!errors.As(got.err, &stopped) {
			t.Fatalf("got %v, want a *WaitError that wraps the deadline and the reason", got.err)
		}
		want := `gave up after 1m0s: container "app" of pod "web" is waiting (ErrImagePull): no such image`
		if got.err.Error() != want {
			t.Errorf("got  %s\nwant %s", got.err, want)
		}
		if waitErr.Waited != time.Minute || got.elapsed != time.Minute ||
			!strings.Contains(waitErr.Hint(), "kubectl describe pod web") {
			t.Errorf("waited %v (%v), hint %q", waitErr.Waited, got.elapsed, waitErr.Hint())
		}
	})
}

func TestWait_DurationStartsAtFirstReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", unscheduled))
		late := sync.OnceFunc(func() { time.Sleep(3 * time.Second) })
		w.override = func(string) any { late(); return nil }
		got := wait(withTimeout(t, 10), t, w, "web", "")
		var waitErr *WaitError
		if !errors.As(got.err, &waitErr) || waitErr.Waited != 7*time.Second || len(got.reasons) != 1 ||
			!strings.HasPrefix(got.reasons[0], "3s ") {
			t.Errorf("error %v, reasons %q", got.err, got.reasons)
		}
	})
}

func TestWait_Canceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("interrupt")
		for _, forbidden := range []bool{false, true} {
			ctx, cancel := context.WithCancelCause(t.Context())
			w := newFakeServer(runningPod("web", unscheduled))
			if forbidden {
				w.override = forbid("watch")
			}
			time.AfterFunc(2500*time.Millisecond, func() { cancel(cause) })
			got := wait(ctx, t, w, "web", "")
			if !errors.Is(got.err, cause) || got.elapsed != 2500*time.Millisecond {
				t.Errorf("watch forbidden %v: ended after %v with %v", forbidden, got.elapsed, got.err)
			}
		}
	})
}

func TestWait_ImagePullReportedOnce(t *testing.T) {
	const words = `pull access denied: repository "nope" does not exist`
	pulling := func() *corev1.Pod { return runningPod("web", waitingFor("ErrImagePull", words)) }
	for name, message := range map[string]string{
		"old kubelet": `Back-off pulling image "nope"`,
		"new kubelet": `Back-off pulling image "nope": ErrImagePull: ` + words,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backing := func() *corev1.Pod { return runningPod("web", waitingFor("ImagePullBackOff", message)) }
				w := newFakeServer(pulling())
				schedule(map[int]func(){
					2: func() { w.setPod(backing()) },
					4: func() { w.setPod(pulling()) },
					6: func() { w.setPod(backing()) },
					8: func() { w.setPod(runningPod("web", waitingFor("ErrImagePull", "too many requests"))) },
				})
				got := wait(withTimeout(t, 10), t, w, "web", "")
				prefix := `container "app" of pod "web" is waiting (ErrImagePull): `
				want := []string{"0s " + prefix + words, "8s " + prefix + "too many requests"}
				if diff := cmp.Diff(want, got.reasons); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

func TestWait_ServerErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", unscheduled))
		time.AfterFunc(6500*time.Millisecond, func() {
			w.update(func() { w.override = func(string) any { return errors.New("connection refused") } })
		})
		time.AfterFunc(11500*time.Millisecond, func() { w.update(func() { w.override = nil }) })
		time.AfterFunc(13500*time.Millisecond, func() { w.setPod(runningPod("web")) })
		got := wait(withTimeout(t, 60), t, w, "web", "")
		if got.err != nil || got.elapsed != 13500*time.Millisecond {
			t.Errorf("ended after %v with %v", got.elapsed, got.err)
		}
		if len(got.reasons) != 3 || !strings.Contains(got.reasons[1], "connection refused") ||
			!strings.Contains(got.reasons[2], "12s pod \"web\" is not scheduled") {
			t.Errorf("reasons %q", got.reasons)
		}

		w = newFakeServer(runningPod("web", unscheduled))
		time.AfterFunc(6*time.Second, func() { w.update(func() { w.override = forbid("get", "watch") }) })
		got = wait(withTimeout(t, 60), t, w, "web", "")
		var unseen *GetForbiddenError
		if !errors.As(got.err, &unseen) || got.elapsed > 11*time.Second {
			t.Errorf("get forbidden: ended after %v with %v", got.elapsed, got.err)
		}
	})
}

func TestWait_Workload(t *testing.T) {
	failed := runningPod("web-a", phase(corev1.PodFailed), func(pod *corev1.Pod) { pod.Status.Reason = "Evicted" })
	tests := []struct {
		name    string
		pods    []*corev1.Pod
		then    func(*fakeServer) // called after 6 s
		reasons []string
		want    string
	}{
		{
			"created during the wait", nil, func(w *fakeServer) { w.setPod(runningPod("web-a")) },
			[]string{"0s deployment/web has no pods but wants 1"},
			"web-a",
		},
		{
			"one that failed is replaced",
			[]*corev1.Pod{failed},
			func(w *fakeServer) { w.setPod(runningPod("web-b")) },
			[]string{`0s pod "web-a" has failed (Evicted)`},
			"web-b",
		},
		{
			"one that is deleted is replaced",
			[]*corev1.Pod{runningPod("web-a", unscheduled, deleting)},
			func(w *fakeServer) { w.setPod(runningPod("web-b")); w.deletePod("web-a") },
			[]string{
				`0s pod "web-a" is not scheduled (Unschedulable): 0/2 nodes are available; the pod is being deleted`,
			},
			"web-b",
		},
		{
			"better pod does not start",
			[]*corev1.Pod{
				runningPod("web-a", waitingFor("ErrImagePull", "no"), phase(corev1.PodRunning)),
				runningPod("web-b", unscheduled),
			},
			func(w *fakeServer) { w.setPod(runningPod("web-b", unready)) },
			[]string{`0s container "app" of pod "web-a" is waiting (ErrImagePull): no`},
			"web-b",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFakeServer(test.pods...)
				w.deployment(1)
				schedule(map[int]func(){6: func() { test.then(w) }})
				got := wait(withTimeout(t, 60), t, w, "deploy/web", "")
				if got.err != nil || got.elapsed > 7*time.Second || got.found.Pod.Name != test.want {
					t.Fatalf("ended after %v with %v, %v", got.elapsed, got.found, got.err)
				}
				if diff := cmp.Diff(test.reasons, got.reasons); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

func TestWait_WorkloadWantsNoPods(t *testing.T) {
	job := func(w *fakeServer, finished corev1.ConditionStatus) {
		w.objects[batch+"jobs/web"] = batchv1.Job{
			TypeMeta: typeMeta("batch/v1", "Job"), ObjectMeta: named, Spec: batchv1.JobSpec{Selector: selector},
			Status: batchv1.JobStatus{
				Conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: finished}},
			},
		}
	}
	tests := []struct {
		name, target, container string
		pods                    []*corev1.Pod
		set, then               func(*fakeServer) // the function then, if not nil, is called after 3.5 s
		text                    string
		seconds                 int
	}{
		{"scaled to 0", "deploy/web", "", nil, func(w *fakeServer) { w.deployment(0) }, nil, "scaled to 0", 0},
		{
			"scaled to 0 during the wait",
			"deploy/web",
			"",
			nil,
			func(w *fakeServer) { w.deployment(1) },
			func(w *fakeServer) { w.update(func() { w.deployment(0) }) },
			"scaled to 0",
			4,
		},
		{
			"finished job", "job/web", "",
			[]*corev1.Pod{runningPod("web-a", phase(corev1.PodSucceeded))},
			func(w *fakeServer) { job(w, corev1.ConditionTrue) }, nil, "has completed", 0,
		},
		{
			"job that finishes", "job/web", "",
			[]*corev1.Pod{runningPod("web-a", phase(corev1.PodSucceeded))},
			func(w *fakeServer) { job(w, corev1.ConditionFalse) },
			func(w *fakeServer) { w.update(func() { job(w, corev1.ConditionTrue) }) },
			"has completed", 4,
		},
		{
			"job whose last pod ends", "job/web", "",
			[]*corev1.Pod{runningPod("web-a", unscheduled)},
			func(w *fakeServer) { job(w, corev1.ConditionFalse) }, func(w *fakeServer) {
				w.update(func() { job(w, corev1.ConditionTrue) })
				w.setPod(runningPod("web-a", phase(corev1.PodSucceeded)))
			}, "has completed", 4,
		},
		{
			"init container that is done",
			"deploy/web",
			"setup",
			[]*corev1.Pod{manyContainers(withStatuses(single(runningState()), []corev1.ContainerStatus{
				containerStatus("setup", exited(0, "Completed")),
			}, nil))},
			func(w *fakeServer) { w.deployment(1) },
			nil,
			"has ended with exit code 0",
			0,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFakeServer(test.pods...)
				test.set(w)
				if test.then != nil {
					time.AfterFunc(3500*time.Millisecond, func() { test.then(w) })
				}
				got := wait(withTimeout(t, 60), t, w, test.target, test.container)
				var waitErr *WaitError
				if got.err == nil || errors.As(got.err, &waitErr) || !strings.Contains(got.err.Error(), test.text) {
					t.Errorf("got %v, want %q", got.err, test.text)
				}
				if seconds := int(math.Ceil(got.elapsed.Seconds())); seconds != test.seconds {
					t.Errorf("ended after %v, want %d s", got.elapsed, test.seconds)
				}
			})
		})
	}
}

func TestWait_NextPodOfWorkload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := withStatuses(
			single(runningState()),
			[]corev1.ContainerStatus{containerStatus("setup", exited(0, "Completed"))},
			nil,
		)
		w := newFakeServer(manyContainers(done, deleting))
		w.deployment(1)
		next := manyContainers(
			withStatuses(
				single(waitingState("PodInitializing", "")),
				[]corev1.ContainerStatus{containerStatus("setup", runningState())},
				nil,
			),
		)
		next.Name = "web-b"
		schedule(map[int]func(){3: func() { w.setPod(next) }})
		if got := wait(withTimeout(t, 60), t, w, "deploy/web", "setup"); got.err != nil ||
			got.found.Pod.Name != "web-b" {
			t.Errorf("ended after %v with %v, %v", got.elapsed, got.found, got.err)
		}
	})
}

func TestWait_PodOfAnotherOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("ours", unscheduled, ownedBy("mine")))
		w.objects[apps+"statefulsets/web"] = appsv1.StatefulSet{
			TypeMeta: typeMeta(
				"apps/v1",
				"StatefulSet",
			), ObjectMeta: named, Spec: appsv1.StatefulSetSpec{Selector: selector},
		}
		schedule(map[int]func(){
			2: func() { w.setPod(runningPod("theirs", ownedBy("other"))) },
			4: func() { w.setPod(runningPod("ours", ownedBy("mine"))) },
		})
		if got := wait(withTimeout(t, 60), t, w, "sts/web", ""); got.err != nil || got.found.Pod.Name != "ours" ||
			got.elapsed != 4*time.Second {
			t.Errorf("ended after %v with %v, %v", got.elapsed, got.found, got.err)
		}
	})
}

func TestWait_TimeoutDuringRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", unscheduled))
		time.AfterFunc(6*time.Second, func() { w.update(func() { w.blocked = "get" }) })
		got := wait(withTimeout(t, 30), t, w, "web", "")
		var waitErr *WaitError
		if !errors.As(got.err, &waitErr) || !strings.Contains(got.err.Error(), "not scheduled") ||
			got.elapsed != 30*time.Second {
			t.Errorf("ended after %v with %v", got.elapsed, got.err)
		}
	})
}

func TestWait_Selector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer()
		schedule(map[int]func(){3: func() { w.setPod(runningPod("web")) }})
		var got []string
		request := Request{Namespace: "shop", Selector: "app=web"}
		found, err := w.client(t).Wait(withTimeout(t, 9), request, func(reason Reason) { got = append(got, reason.Text) })
		if err != nil || found.Pod.Name != "web" {
			t.Errorf("got %v, %v", found, err)
		}
		if diff := cmp.Diff([]string{`no pod in namespace "shop" has the labels app=web`}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// warningEvent returns a warning about pod web. minute is the time of its last
// occurrence; see atMinute.
func warningEvent(minute int, reason, message string) corev1.Event {
	return corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Name:      fmt.Sprint(minute),
			Namespace: "shop",
		}, InvolvedObject: corev1.ObjectReference{UID: types.UID("uid-web")},
		Type: corev1.EventTypeWarning, Reason: reason, Message: message, LastTimestamp: atMinute(minute),
	}
}

func eventList(list ...corev1.Event) corev1.EventList {
	return corev1.EventList{TypeMeta: typeMeta("v1", "EventList"), Items: list}
}

func TestWait_VolumeEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", waitingFor("ContainerCreating", "")))
		w.objects[core+"events"] = eventList(
			warningEvent(3, "FailedMount", `MountVolume.SetUp failed for volume "v": configmap "c" not found`),
			warningEvent(1, "FailedScheduling", "long ago"),
		)
		schedule(map[int]func(){
			7: func() {
				w.update(func() {
					w.objects[core+"events"] = eventList(
						warningEvent(4, "FailedCreatePodSandBox", "sandbox 0123456789ab: no address"),
					)
				})
			},
			12: func() {
				w.update(func() {
					w.objects[core+"events"] = eventList(
						warningEvent(5, "FailedCreatePodSandBox", "sandbox ba9876543210: no address"),
					)
				})
			},
			27: func() { w.setPod(runningPod("web", waitingFor("CreateContainerError", "no such command"))) },
		})
		got := wait(withTimeout(t, 30), t, w, "web", "")
		const creating = `container "app" of pod "web" is waiting (ContainerCreating)`
		want := []string{
			"0s " + creating,
			"5s " + creating + `; FailedMount: MountVolume.SetUp failed for volume "v": configmap "c" not found`,
			"10s " + creating + `; FailedCreatePodSandBox: sandbox 0123456789ab: no address`,
			`27s container "app" of pod "web" is waiting (CreateContainerError): no such command`,
		}
		if diff := cmp.Diff(want, got.reasons); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if got := w.received()["events"]; got != 5 {
			t.Errorf("%d requests for events, want 5", got)
		}
	})
}

func TestWait_EventNoLongerApplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", waitingFor("ContainerCreating", ""), withSandbox(corev1.ConditionFalse)))
		w.objects[core+"events"] = eventList(warningEvent(3, "FailedMount", `configmap "c" not found`))
		schedule(map[int]func(){
			6: func() {
				w.setPod(runningPod("web", waitingFor("ContainerCreating", ""), withSandbox(corev1.ConditionTrue)))
			},
			8: func() { w.setPod(runningPod("web")) },
		})
		got := wait(withTimeout(t, 30), t, w, "web", "")
		if len(got.reasons) != 3 || !strings.Contains(got.reasons[1], "FailedMount") ||
			strings.Contains(got.reasons[2], "FailedMount") {
			t.Errorf("reasons %q", got.reasons)
		}
	})
}

func TestWait_EventsForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web", waitingFor("ContainerCreating", "")))
		w.override = forbid("events", "watch")
		got := wait(withTimeout(t, 30), t, w, "web", "")
		if len(got.reasons) != 1 || w.received()["events"] != 1 {
			t.Errorf("reasons %q, requests %v", got.reasons, w.received())
		}
	})
}

// A reason that differs from the last one only in a duration or an ID is not
// passed again. An earlier reason that occurs again is passed without its
// message.
func TestWait_ReasonReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crashed := func(message string) *corev1.Pod {
			return runningPod("web", waitingFor("CrashLoopBackOff", message))
		}
		w := newFakeServer(crashed("back-off 10s restarting failed container=app pod=web_shop(0b5c3f60-1d2e-4f3a)"))
		schedule(map[int]func(){
			1: func() {
				w.setPod(crashed("back-off 40s restarting failed container=app pod=web_shop(0b5c3f60-1d2e-4f3a)"))
			},
			2: func() {
				w.setPod(crashed("back-off 1m20s restarting failed container=app pod=web_shop(0b5c3f60-1d2e-4f3a)"))
			},
			3: func() { w.setPod(runningPod("web", waitingFor("RunContainerError", "id 0123456789ab: no space"))) },
			4: func() {
				w.setPod(crashed("back-off 2m40s restarting failed container=app pod=web_shop(0b5c3f60-1d2e-4f3a)"))
			},
			5: func() { w.setPod(runningPod("web", waitingFor("RunContainerError", "id ba9876543210: no space"))) },
		})
		got := wait(withTimeout(t, 7), t, w, "web", "")
		want := []string{
			`0s container "app" of pod "web" is waiting (CrashLoopBackOff): ` +
				`back-off 10s restarting failed container=app pod=web_shop(0b5c3f60-1d2e-4f3a)`,
			`3s container "app" of pod "web" is waiting (RunContainerError): id 0123456789ab: no space`,
			`4s container "app" of pod "web" is waiting (CrashLoopBackOff)`,
			`5s container "app" of pod "web" is waiting (RunContainerError)`,
		}
		if diff := cmp.Diff(want, got.reasons); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if !strings.HasSuffix(fmt.Sprint(got.err), "id ba9876543210: no space") {
			t.Errorf("the error does not end with the last message: %v", got.err)
		}
	})
}

// While an init container runs, the hint names the flag that selects it.
func TestWait_InitContainerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setup := []corev1.ContainerStatus{containerStatus("setup", runningState())}
		w := newFakeServer(manyContainers(phase(corev1.PodPending),
			withStatuses(single(waitingState("PodInitializing", "")), setup, nil)))
		got := wait(withTimeout(t, 3), t, w, "web", "app")
		const offer = "-c setup selects the init container, which is running"
		if diff := cmp.Diff([]string{offer}, got.hints); diff != "" {
			t.Errorf("hints (-want +got):\n%s", diff)
		}
		var timedOut *WaitError
		if !errors.As(got.err, &timedOut) || !strings.HasPrefix(timedOut.Hint(), offer+"; type `kubectl logs ") {
			t.Errorf("error %v", got.err)
		}
	})
}

// The events of an old pod are requested at once. The events of a new pod are
// requested at the end of the wait, if they were not requested before.
func TestWait_EventsOfShortWait(t *testing.T) {
	for name, age := range map[string]time.Duration{"old pod": time.Minute, "new pod": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := runningPod("web", waitingFor("ContainerCreating", ""))
				p.CreationTimestamp = metav1.NewTime(time.Now().Add(-age))
				w := newFakeServer(p)
				w.objects[core+"events"] = eventList(warningEvent(3, "FailedMount", `secret "s" not found`))
				const explained = `container "app" of pod "web" is waiting (ContainerCreating); FailedMount: secret "s" not found`
				got := wait(withTimeout(t, 2), t, w, "web", "")
				if !strings.HasSuffix(fmt.Sprint(got.err), explained) {
					t.Errorf("error %v", got.err)
				}
				if first := got.reasons[0] == "0s "+explained; first != (age == time.Minute) {
					t.Errorf("reasons %q", got.reasons)
				}
				if _, err := w.client(t).Find(t.Context(), request(t, "web")); fmt.Sprint(err) != explained {
					t.Errorf("Find: %v", err)
				}
			})
		})
	}
}
