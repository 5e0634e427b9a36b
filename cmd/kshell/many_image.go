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

// images records for each image whether exact mode is possible, so that only the first
// pod of an image has to find out. The zero value is ready to use.
type images struct {
	mu    sync.Mutex
	known map[string]*verdict
}

// verdict is the result of the first pod of an image.
type verdict struct {
	settled chan struct{} // closed when the fields below are set
	why     string        // why exact mode is not possible; empty if it is
	offPath bool          // sh is not in the PATH
}

// imageTrial is what a job knows about its image. The zero value means that nothing is
// known, and that no other pod waits for the result.
type imageTrial struct {
	why     string   // why exact mode is not possible; empty if it is, or if that is not known
	offPath bool     // sh is not in the PATH
	tell    *verdict // nil if this is not the first pod of the image
	once    *sync.Once
}

// settle publishes the result for the other pods of the image. Only the first call has
// an effect.
func (t imageTrial) settle(why string, offPath bool) {
	if t.tell != nil {
		t.once.Do(func() {
			t.tell.why, t.tell.offPath = why, offPath
			close(t.tell.settled)
		})
	}
}

// trialTime is how long the other pods of an image wait for the first one, whose node
// may be lost.
const trialTime = 3 * time.Second

// plan returns p for a place, without exact mode if that is known not to be possible
// with its image. The caller must call settle on the returned trial.
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

// image returns the ID of the container's image, or its name if the runtime reports no
// ID; empty if neither is known.
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

// watched returns a writer to out that settles the job's image when the script has
// reported that the command is running.
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

// judged publishes the result for the other pods of the image: whether sh is in the
// PATH, or why the script could not run the command, if the image is the cause. why is
// empty if the script could run it.
func (j *job) judged(state exact.State, err error, why string) {
	switch {
	case why == "":
		j.image.settle("", j.offPath.Load())
	case imagesFault(state, err):
		j.image.settle(why, false)
	}
}

// imagesFault reports whether the script could not run because of the image, rather
// than the command, a policy or the connection.
func imagesFault(state exact.State, err error) bool {
	var refused *stream.HandshakeError
	return state == exact.Unsupported || state == exact.Unknown && !errors.As(err, &refused)
}
