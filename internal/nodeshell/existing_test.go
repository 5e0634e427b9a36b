package nodeshell

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/node"
)

// newTestPod returns the pod of a shell that was created at the given time.
func newTestPod(created time.Time) *corev1.Pod {
	p := node.Pod(node.Options{
		Node: "worker-1", Name: "node-shell-worker-1-abc234", Image: "tools:1", Shell: true,
		TTL: 8 * time.Hour, HeartbeatTimeout: 5 * time.Minute, StartTimeout: time.Minute, CreatedBy: "ann\x1b[31m",
	})
	p.CreationTimestamp = metav1.NewTime(created)
	p.Status.Phase = corev1.PodRunning
	return p
}

func TestRow(t *testing.T) {
	now := time.Now()
	want := func(kind, status, ends string) []string {
		return []string{"node-shell-worker-1-abc234", "worker-1", kind, status, "ann?[31m", "-", "3h", ends}
	}
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   []string
	}{
		"running": {func(*corev1.Pod) {}, want("shell", "Running", "5h")},
		"ended":   {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, want("shell", "Failed", "-")},
		"being deleted": {func(p *corev1.Pod) {
			p.DeletionTimestamp = &metav1.Time{Time: now}
		}, want("shell", "Terminating", "5h")},
		"command": {func(p *corev1.Pod) { p.Annotations["kshell/kind"] = "command" }, want("command", "Running", "5h")},
	} {
		p := newTestPod(now.Add(-3 * time.Hour))
		test.change(p)
		if diff := cmp.Diff(test.want, Row(p, now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestLeftoverReason(t *testing.T) {
	now := time.Now()
	running := func(*corev1.Pod) {}
	ended := func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }
	deleted := func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: now} }
	for name, test := range map[string]struct {
		change    func(*corev1.Pod)
		olderThan time.Duration
		want      string
	}{
		"running":                  {running, 0, ""},
		"running, younger":         {running, 4 * time.Hour, ""},
		"running, older":           {running, 2 * time.Hour, "is 3h old"},
		"ended":                    {ended, 0, "has ended"},
		"ended, older":             {ended, 2 * time.Hour, "has ended"},
		"older, but being deleted": {deleted, 2 * time.Hour, ""},
	} {
		p := newTestPod(now.Add(-3 * time.Hour))
		test.change(p)
		if got := leftoverReason(p, test.olderThan, now); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
