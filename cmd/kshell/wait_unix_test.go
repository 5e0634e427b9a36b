//go:build unix

package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/outcome"
)

// On a terminal, kshell shows what it waits for in one line, which it updates
// in place and removes at the end.
func TestExec_WaitingLineOnTerminal(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	waitsFor := func(message string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: message,
			}}}
		}
	}
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}}}
	p.Name = "new"
	waitsFor("no node has enough memory for this pod")(p)
	if err := s.AddPod(p); err != nil {
		t.Fatal(err)
	}
	c := open(t, s, program(t), "exec", "--pod-running-timeout=10m", "new", "--", "true")
	const begin = `kshell: waiting \(up to 10m0s\): pod "new" is not scheduled \(Unschedulable\): `
	c.waitFor(strings.TrimSuffix(begin, " ") + `( n…|\.\.\.)`) // depends on the locale
	for _, message := range []string{"A", "B"} {
		if err := s.ChangePod("default", "new", waitsFor(message)); err != nil {
			t.Fatal(err)
		}
		c.waitFor(`^\r\x1b\[K` + begin + message)
	}
	c.keys("\x03")
	c.mustEnd(outcome.ExitSignal + 2)
	c.waitFor(`^(\^C)?\r\x1b\[K`)
}

// On a terminal, a hint has the flag that selects the init container that is
// running.
func TestExec_InitContainerHint(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	p := starting(waiting("PodInitializing"), running())
	p.Name = "new"
	if err := s.AddPod(p); err != nil {
		t.Fatal(err)
	}
	c := open(t, s, program(t), "exec", "--pod-running-timeout=10m", "new", "--", "true")
	c.waitFor(`\r\x1b\[Khint: -c setup selects the init container, which is running\r\n`)
	c.keys("\x03")
	c.mustEnd(outcome.ExitSignal + 2)
}
