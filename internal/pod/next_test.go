package pod

import (
	"errors"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// uid makes a pod another one than the pod of its name is.
func uid(id types.UID) func(*corev1.Pod) { return func(pod *corev1.Pod) { pod.UID = id } }

func TestNext(t *testing.T) {
	const deleted = `pod "web" was deleted`
	none := corev1.ContainerState{}
	tests := []struct {
		name   string
		target string
		then   func(w *fakeServer) // what happens after web was found
		pod    string              // where the session goes on
		same   bool                // in the very container
		told   string
		fails  string // with these words
		gone   bool   // by a GoneError
	}{
		{name: "nothing has happened", target: "web", then: func(*fakeServer) {}, pod: "web", same: true},
		{
			name: "the container was started anew", target: "web",
			then: func(w *fakeServer) { w.put(runningPod("web", inState(runningState(), exited(137, "OOMKilled"), 1))) },
			pod:  "web", told: `container "app" of pod "web" was killed because it was out of memory (exit code 137) and was restarted`,
		},
		{
			name: "the container waits to be started anew", target: "deploy/web",
			then: func(w *fakeServer) {
				w.put(runningPod("web", inState(waitingState("CrashLoopBackOff", ""), exited(1, ""), 1)))
			},
			told:  `container "app" of pod "web" ended with exit code 1`,
			fails: `container "app" of pod "web" is waiting (CrashLoopBackOff); its last run ended with exit code 1`,
		},
		{
			name: "the container has ended for good", target: "web",
			then: func(w *fakeServer) {
				w.put(
					runningPod(
						"web",
						inState(exited(3, ""), none, 0),
						func(pod *corev1.Pod) { pod.Spec.RestartPolicy = corev1.RestartPolicyNever },
					),
				)
			},
			told: `container "app" of pod "web" ended with exit code 3`, fails: `container "app" of pod "web" ended with exit code 3`, gone: true,
		},
		{
			name:   "the pod is gone",
			target: "web",
			then:   func(w *fakeServer) { w.delete("web") },
			told:   deleted,
			fails:  deleted,
			gone:   true,
		},
		{
			name: "another pod has the name", target: "web", then: func(w *fakeServer) { w.put(runningPod("web", uid("new"))) },
			told: `pod "web" was deleted and replaced by another pod of the same name`, fails: `pod "web" was deleted and replaced by another pod of the same name`, gone: true,
		},
		{
			name: "another pod has the name, and it is the workload's", target: "deploy/web", then: func(w *fakeServer) { w.put(runningPod("web", uid("new"))) },
			told: `pod "web" was deleted and replaced by another pod of the same name`, pod: "web",
		},
		{
			name: "the workload has another pod", target: "deploy/web",
			then: func(w *fakeServer) { w.delete("web"); w.put(runningPod("web-2")) },
			told: deleted, pod: "web-2",
		},
		{
			name: "the workload's other pod is on its way out", target: "deploy/web",
			then: func(w *fakeServer) { w.delete("web"); w.put(runningPod("web-2", gracePeriod(30))) },
			told: deleted, fails: `deployment/web has no other running pod yet`,
		},
		{
			name: "the workload's other pod does not run yet", target: "deploy/web",
			then: func(w *fakeServer) { w.delete("web"); w.put(runningPod("web-2", unscheduled)) },
			told: deleted, fails: `pod "web-2" is not scheduled (Unschedulable): 0/2 nodes are available`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFakeServer(runningPod("web"))
				w.deployment(1)
				req := request(t, tt.target)
				before, err := w.client(t).Find(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				tt.then(w)
				next, told, err := w.client(t).Next(t.Context(), before, req)
				if told != tt.told {
					t.Errorf("told %q, want %q", told, tt.told)
				}
				var gone *GoneError
				switch {
				case tt.fails != "":
					if err == nil || err.Error() != tt.fails || errors.As(err, &gone) != tt.gone {
						t.Errorf("error %v (%T), want %q", err, err, tt.fails)
					}
				case err != nil:
					t.Errorf("error %v", err)
				case next.Pod.Name != tt.pod || (next == before) != tt.same:
					t.Errorf("goes on in %s, the very container: %v", next.Pod.Name, next == before)
				}
			})
		})
	}
}

func TestNext_Forbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web"))
		f := mustFind(w, t)
		w.refuse = forbid("get")
		var refused *RequestError
		if next, told, err := w.client(t).Next(t.Context(), f, request(t, "web")); next != nil || told != "" ||
			!errors.As(err, &refused) ||
			!apierrors.IsForbidden(err) {
			t.Errorf("got %v, %q, %v", next, told, err)
		}
	})
}
