package main

import (
	"context"
	"errors"

	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

// wait waits for the container of a place that does not run yet, where waiting is asked for and can help: what is known of the place is
// then what was found.
func (m *many) wait(ctx context.Context, i int) {
	var stopped *pod.NotRunningError
	if m.plan.running == 0 || !errors.As(m.refused[i], &stopped) || stopped.Permanent {
		return
	}
	env := m.env()
	env.Notice = m.notice.WithPrefix(m.titles[i])
	target, err := remote.Resolve(ctx, env, m.cluster, pod.Request{
		Namespace: m.places[i].Namespace, Target: pod.Target{Kind: "pod", Name: m.places[i].Pod}, Container: m.plan.container,
	}, m.plan.running)
	m.refused[i] = outcome.ContextCause(ctx, err)
	if err == nil {
		m.places[i] = target
	}
}
