package pod

import (
	"errors"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// withUID makes the pod another pod of the same name.
func withUID(id types.UID) func(*corev1.Pod) { return func(pod *corev1.Pod) { pod.UID = id } }

func TestNext(t *testing.T) {
	const deleted = `pod "web" was deleted`
	none := corev1.ContainerState{}
	tests := []struct {
		name     string
		target   string
		then     func(w *fakeServer) // what happens after web is found
		killed   bool                // the command of the session was killed
		pod      string              // the pod in which the session continues
		same     bool                // Next returns found itself
		sentence string
		fails    string // the text of the error; "" for no error
		gone     bool   // the error is a *GoneError
	}{
		{name: "no change", target: "web", then: func(*fakeServer) {}, pod: "web", same: true},
		{
			name: "container restarted", target: "web",
			then: func(w *fakeServer) { w.setPod(runningPod("web", inState(runningState(), exited(137, "OOMKilled"), 1))) },
			pod:  "web",
			sentence: `container "app" of pod "web" was killed because it was out of memory (exit code 137) and ` +
				`was restarted`,
		},
		{
			name: "container waits for its restart", target: "deploy/web",
			then: func(w *fakeServer) {
				w.setPod(runningPod("web", inState(waitingState("CrashLoopBackOff", ""), exited(1, ""), 1)))
			},
			sentence: `container "app" of pod "web" ended with exit code 1`,
			fails:    `container "app" of pod "web" is waiting (CrashLoopBackOff); its last run ended with exit code 1`,
		},
		{
			name: "container ended for good", target: "web",
			then: func(w *fakeServer) {
				w.setPod(
					runningPod(
						"web",
						inState(exited(3, ""), none, 0),
						func(pod *corev1.Pod) { pod.Spec.RestartPolicy = corev1.RestartPolicyNever },
					),
				)
			},
			sentence: `container "app" of pod "web" ended with exit code 3`,
			fails:    `container "app" of pod "web" ended with exit code 3`,
			gone:     true,
		},
		{
			name:     "the pod is gone",
			target:   "web",
			then:     func(w *fakeServer) { w.deletePod("web") },
			sentence: deleted,
			fails:    deleted,
			gone:     true,
		},
		{
			name:     "another pod of the same name",
			target:   "web",
			then:     func(w *fakeServer) { w.setPod(runningPod("web", withUID("new"))) },
			sentence: `pod "web" was deleted and replaced by another pod of the same name`,
			fails:    `pod "web" was deleted and replaced by another pod of the same name`,
			gone:     true,
		},
		{
			name:     "another pod of the same name and workload",
			target:   "deploy/web",
			then:     func(w *fakeServer) { w.setPod(runningPod("web", withUID("new"))) },
			sentence: `pod "web" was deleted and replaced by another pod of the same name`, pod: "web",
		},
		{
			name: "another pod of the workload", target: "deploy/web",
			then:     func(w *fakeServer) { w.deletePod("web"); w.setPod(runningPod("web-2")) },
			sentence: deleted, pod: "web-2",
		},
		{
			name: "being deleted", target: "deploy/web",
			then: func(w *fakeServer) { w.setPod(runningPod("web", deletingWithin(30))); w.setPod(runningPod("web-2")) },
			pod:  "web", same: true,
		},
		{
			name: "killed and being deleted", target: "deploy/web", killed: true,
			then: func(w *fakeServer) { w.setPod(runningPod("web", deletingWithin(30))); w.setPod(runningPod("web-2")) },
			pod:  "web-2", sentence: `pod "web" is being deleted (grace period 30 s)`,
		},
		{
			name: "killed and being deleted, no other pod", target: "deploy/web", killed: true,
			then:     func(w *fakeServer) { w.setPod(runningPod("web", deletingWithin(30))) },
			sentence: `pod "web" is being deleted (grace period 30 s)`,
			fails:    `deployment/web has no other running pod yet`,
		},
		{
			name: "killed, not being deleted", target: "deploy/web", killed: true,
			then: func(w *fakeServer) { w.setPod(runningPod("web-2")) }, pod: "web", same: true,
		},
		{
			name: "other pod is being deleted", target: "deploy/web",
			then:     func(w *fakeServer) { w.deletePod("web"); w.setPod(runningPod("web-2", deletingWithin(30))) },
			sentence: deleted, fails: `deployment/web has no other running pod yet`,
		},
		{
			name: "other pod does not run yet", target: "deploy/web",
			then:     func(w *fakeServer) { w.deletePod("web"); w.setPod(runningPod("web-2", unscheduled)) },
			sentence: deleted, fails: `pod "web-2" is not scheduled (Unschedulable): 0/2 nodes are available`,
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
				next, sentence, err := w.client(t).Next(t.Context(), before, req, tt.killed)
				if sentence != tt.sentence {
					t.Errorf("sentence %q, want %q", sentence, tt.sentence)
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
					t.Errorf("continues in %s, same container: %v", next.Pod.Name, next == before)
				}
			})
		})
	}
}

func TestNext_Forbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeServer(runningPod("web"))
		f := mustFind(w, t)
		w.override = forbid("get")
		var refused *RequestError
		if next, sentence, err := w.client(t).Next(t.Context(), f, request(t, "web"), false); next != nil || sentence != "" ||
			!errors.As(err, &refused) ||
			!apierrors.IsForbidden(err) {
			t.Errorf("got %v, %q, %v", next, sentence, err)
		}
	})
}
