package node

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestLeftover(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		age    time.Duration
		phase  corev1.PodPhase
		change func(*corev1.Pod)
		want   string
	}{
		"running":              {time.Hour, corev1.PodRunning, nil, ""},
		"succeeded":            {0, corev1.PodSucceeded, nil, "has ended"},
		"failed":               {0, corev1.PodFailed, nil, "has ended"},
		"deadline passed":      {9 * time.Hour, corev1.PodRunning, nil, "should have ended after 8h0m0s"},
		"deadline just passed": {8*time.Hour + time.Minute, corev1.PodRunning, nil, ""},
		"pending":              {time.Minute, corev1.PodPending, nil, ""},
		"pending for long":     {10 * time.Minute, corev1.PodPending, nil, "has never started"},
		"without kshell's labels": {
			99 * time.Hour, corev1.PodFailed, func(p *corev1.Pod) { delete(p.Labels, nameLabel) }, "",
		},
		"being deleted": {
			0, corev1.PodFailed, func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: now} }, "",
		},
		"unknown deadline": {
			9 * time.Hour, corev1.PodRunning, func(p *corev1.Pod) { p.Annotations, p.Spec.ActiveDeadlineSeconds = nil, nil }, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := Pod(testOptions())
			p.CreationTimestamp = metav1.NewTime(now.Add(-c.age))
			p.Status.Phase = c.phase
			if c.change != nil {
				c.change(p)
			}
			if got := Leftover(p, now); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTerminationOf(t *testing.T) {
	ended := func(phase corev1.PodPhase, podReason string, code int32, reason string) *corev1.Pod {
		p := Pod(testOptions())
		p.Status.Phase, p.Status.Reason = phase, podReason
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: Container, State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason},
		}}}
		return p
	}
	running := Pod(testOptions())
	running.Status.Phase = corev1.PodRunning
	evicted := Pod(testOptions())
	evicted.Status.Phase, evicted.Status.Reason = corev1.PodFailed, "Evicted"
	deleted := ended(corev1.PodRunning, "", 143, "Error")
	deleted.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		want Termination
		ok   bool
	}{
		"running":          {running, Termination{}, false},
		"exit":             {ended(corev1.PodSucceeded, "", 0, "Completed"), Termination{0, "", false}, true},
		"exit 42":          {ended(corev1.PodFailed, "", 42, "Error"), Termination{42, "", false}, true},
		"before the phase": {ended(corev1.PodRunning, "", 7, "Error"), Termination{7, "", false}, true},
		"out of memory":    {ended(corev1.PodFailed, "", 137, "OOMKilled"), Termination{137, "OOMKilled", false}, true},
		"deadline": {
			ended(corev1.PodFailed, "DeadlineExceeded", 137, "Error"), Termination{137, "DeadlineExceeded", false}, true,
		},
		"deleted": {deleted, Termination{143, "", true}, true},
		"evicted": {evicted, Termination{255, "Evicted", false}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := TerminationOf(c.pod); got != c.want || ok != c.ok {
				t.Errorf("got %+v, %v", got, ok)
			}
		})
	}
}
