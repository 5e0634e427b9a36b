package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/exact"
	"kshell/internal/stream"
)

// images remembers why exact mode is not possible with an image, so that only the first of its pods pays for finding out. The zero value
// is ready.
type images struct {
	mu    sync.Mutex
	known map[string]*verdict
}

// verdict is what the first pod of an image has found out.
type verdict struct {
	settled chan struct{} // closed when it is known
	why     string        // exact mode is not possible; empty: nothing speaks against it
	offPath bool          // sh is not in the PATH
}

// imageTrial is what a job knows of its image. The zero value knows nothing and tells nobody.
type imageTrial struct {
	why     string   // exact mode is not possible
	offPath bool     // sh is not in the PATH
	tell    *verdict // nil if this is not the first pod of the image
	once    *sync.Once
}

// settle tells the others, once.
func (t imageTrial) settle(why string, offPath bool) {
	if t.tell != nil {
		t.once.Do(func() {
			t.tell.why, t.tell.offPath = why, offPath
			close(t.tell.settled)
		})
	}
}

// trialTime bounds how long the other pods of an image wait for the first one: its node may be gone.
const trialTime = 3 * time.Second

// plan is p for a place, plain if exact mode is known not to be possible with its image. Whoever is the first has to settle the trial.
func (m *images) plan(ctx context.Context, p *execPlan, at place) (*execPlan, imageTrial) {
	image := at.image()
	if image == "" || p.exact.mode != exactAuto || !p.around.none() {
		return p, imageTrial{}
	}
	v, first := m.verdict(image)
	if first {
		return p, imageTrial{tell: v, once: &sync.Once{}}
	}
	select {
	case <-v.settled:
	case <-ctx.Done():
		return p, imageTrial{}
	case <-time.After(trialTime):
		return p, imageTrial{}
	}
	if v.why == "" {
		return p, imageTrial{offPath: v.offPath}
	}
	plain := *p
	plain.exact.mode = exactNever
	return &plain, imageTrial{why: v.why}
}

func (m *images) verdict(image string) (v *verdict, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.known[image]; v != nil {
		return v, false
	}
	if m.known == nil {
		m.known = map[string]*verdict{}
	}
	v = &verdict{settled: make(chan struct{})}
	m.known[image] = v
	return v, true
}

// image is the ID of the container's image, or its name where the runtime tells no ID; empty if neither is known.
func (at place) image() string {
	if at.seen == nil {
		return ""
	}
	s := at.seen.Pod.Status
	for _, c := range slices.Concat(s.ContainerStatuses, s.InitContainerStatuses, s.EphemeralContainerStatuses) {
		if c.Name == at.container {
			return imageOf(c)
		}
	}
	return ""
}

func imageOf(c corev1.ContainerStatus) string {
	if c.ImageID != "" {
		return c.ImageID
	}
	return c.Image
}

// watched is out, and has the job's image settled when the script has said that the command runs.
func (j *job) watched(run *exact.Run, out io.Writer) io.Writer {
	if j.image.tell == nil {
		return out
	}
	return &settling{out, run, j}
}

type settling struct {
	io.Writer
	run *exact.Run
	job *job
}

// Write implements io.Writer.
func (s *settling) Write(p []byte) (int, error) {
	n, err := s.Writer.Write(p)
	if state, _ := s.run.State(); state == exact.Running || state == exact.Ended {
		s.job.image.settle("", s.job.offPath.Load())
	}
	return n, err
}

// judged tells the other pods of the image what this one has found out: where sh is, or why the script could not run the command, if the image
// is to blame.
func (j *job) judged(state exact.State, err error, why string) {
	switch {
	case why == "":
		j.image.settle("", j.offPath.Load())
	case imagesFault(state, err):
		j.image.settle(why, false)
	}
}

// imagesFault says whether it is the image that the script could not run in, and not the command, a policy or the link.
func imagesFault(state exact.State, err error) bool {
	var refused *stream.HandshakeError
	return state == exact.Unable || state == exact.Unknown && !errors.As(err, &refused)
}
