package remote

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"kshell/internal/exact"
	"kshell/internal/stream"
)

// ImageCache records for each image whether exact mode is possible, so that
// only the first pod of an image tries it. The zero value is ready to use. It
// is safe for concurrent use; a nil *ImageCache records nothing.
type ImageCache struct {
	mu     sync.Mutex
	images map[string]*imageResult
}

// imageResult is the result of the first pod of an image.
type imageResult struct {
	done       chan struct{} // closed when the fields below are set
	inexact    string        // why exact mode is not possible; empty if it is possible
	noShInPath bool          // the image's PATH has no sh
}

// imageTrial publishes the result of the first pod of an image. The zero value,
// for the other pods, publishes nothing.
type imageTrial struct {
	result *imageResult // nil if this is not the first pod of the image
	once   *sync.Once
}

// settle publishes the result for the other pods of the image. Only the first
// call has an effect.
func (t imageTrial) settle(inexact string, noShInPath bool) {
	if t.result != nil {
		t.once.Do(func() {
			t.result.inexact, t.result.noShInPath = inexact, noShInPath
			close(t.result.done)
		})
	}
}

// maxTrial is how long the other pods of an image wait for the result of the
// first pod. The wait is limited, because the node of the first pod may be
// lost.
const maxTrial = 3 * time.Second

// trial returns why exact mode is not possible with the image of c; inexact is
// empty if exact mode is possible, or if that is not known. trial also records
// in c whether the image's PATH has no sh. The caller must call settle on the
// returned trial.
func (m *ImageCache) trial(ctx context.Context, c *Command) (t imageTrial, inexact string) {
	image := c.Target().image()
	if m == nil || image == "" || c.options.Exact != ExactAuto || c.options.hasEnvironment() {
		return imageTrial{}, ""
	}
	r, first := m.result(image)
	if first {
		return imageTrial{r, &sync.Once{}}, ""
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return imageTrial{}, ""
	case <-time.After(maxTrial):
		return imageTrial{}, ""
	}
	if r.inexact == "" {
		c.noShInPath.Store(r.noShInPath)
	}
	return imageTrial{}, r.inexact
}

func (m *ImageCache) result(image string) (r *imageResult, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.images[image]; r != nil {
		return r, false
	}
	if m.images == nil {
		m.images = map[string]*imageResult{}
	}
	r = &imageResult{done: make(chan struct{})}
	m.images[image] = r
	return r, true
}

// trialWriter is the stdout of a session of the script. When the script has
// reported that the command is running, trialWriter publishes that exact mode
// is possible with the image.
type trialWriter struct {
	io.Writer
	run *exact.Run
	cmd *Command
}

// Write implements io.Writer.
func (w *trialWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if state, _ := w.run.State(); state == exact.Running || state == exact.Ended {
		w.cmd.image.settle("", w.cmd.noShInPath.Load())
	}
	return n, err
}

// settleImage publishes the result of the script for the other pods of the
// image. inexact is why the script could not run the command; it is empty if
// the script could run the command. A failure that the image did not cause is
// not published.
func (c *Command) settleImage(state exact.State, err error, inexact string) {
	switch {
	case inexact == "":
		c.image.settle("", c.noShInPath.Load())
	case causedByImage(state, err):
		c.image.settle(inexact, false)
	}
}

// causedByImage reports whether the script could not run because of the image,
// rather than the command, a policy or the connection.
func causedByImage(state exact.State, err error) bool {
	var refused *stream.HandshakeError
	return state == exact.Unsupported || state == exact.Unknown && !errors.As(err, &refused)
}
