package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"
)

// Replay writes the output of a shell to Output, each byte once and in order.
// The output arrives in streams: each connection that attaches to the shell has
// one.
//
// A stream begins at an arbitrary position of the output. Earlier output is
// only in the container's log. Marks (see MarkCommand) are printed to the
// shell's terminal, so they appear both in the stream and in the log. With a
// mark, Replay finds the same position of the output in both. For each new
// stream, the caller calls ExpectMark with an ID, and prints marks with this ID
// until the channel of Joined is closed. Replay drops the stream's output
// before the mark. In its place, Replay writes the log, from the position that
// the previous stream reached up to the mark. The new stream is then joined,
// and Replay writes its output. All marks, including those of other clients,
// are removed from the output.
//
// containerd's log lacks the CRs before an LF. Therefore Replay does not count
// these CRs, and adds a CR before each LF of the log.
//
// Write, WriteRest and ExpectMark must be called from one goroutine at a time;
// Joined and SkipMark may be called from any goroutine.
type Replay struct {
	Output io.Writer
	Source ReplaySource

	// Used by the goroutine that calls Write, WriteRest and ExpectMark.
	ctx      context.Context // limits the reading of the log in Write; set by ExpectMark
	position logPosition     // also set by SkipMark, while no output is written
	crs      crStripper      // state for the output since the mark position.markID
	partial  []byte          // the last bytes of the stream so far, if they may begin a mark
	dropped  int             // number of consecutive streams that were not joined; see LogUnreachable

	mu      sync.Mutex
	passing bool          // output is written; otherwise it is held until the mark
	markID  string        // ID of the expected mark; empty once that mark was read
	early   []byte        // output before the mark, for SkipMark
	joined  chan struct{} // see Joined
}

// ReplaySource provides the container's log to a Replay and handles failures of
// the log. Its methods are called in the goroutine that calls Write or
// WriteRest.
type ReplaySource interface {
	// OpenLog opens the container's log. If follow is set, the reader also
	// returns what is printed later, until it is closed or the context ends.
	OpenLog(ctx context.Context, from LogStart, follow bool) (io.ReadCloser, error)
	// OutputMissing is called with the reason when output is missing. The
	// stream continues.
	OutputMissing(err error)
	// LogUnreachable is called when the log cannot be read because the
	// connection failed. The stream is most likely lost, too, and Replay does
	// not join it. LogUnreachable must close the stream, so that the caller of
	// Replay reconnects.
	LogUnreachable(err error)
}

// LogStart is the position at which reading of the log begins.
type LogStart struct {
	Since time.Time // by the node's clock; the zero value means the beginning
	Tail  int64     // only this many lines from the end; 0 means all
}

// logPosition is how much of the shell's output has been written: a number of
// bytes after a mark, counted by a crStripper.
type logPosition struct {
	markID    string // empty for the beginning of the log
	since     time.Time
	bytes     int64
	tailLines int64 // if not 0, nothing was written yet; begin with this many last lines
	unknown   bool  // the position is not known; see SkipMark
}

// StartAtTail makes the output begin with the last lines of the log.
func (r *Replay) StartAtTail(lines int64) { r.position = logPosition{tailLines: lines} }

// ExpectMark begins a new stream, and drops its output before the mark with
// this ID. The ID in the mark may have a suffix after a dash, so that each
// attempt to print the mark can have its own ID. ctx limits the reading of the
// log.
func (r *Replay) ExpectMark(ctx context.Context, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx, r.partial = ctx, nil
	r.passing, r.markID, r.early, r.joined = false, id, nil, make(chan struct{})
}

// Joined returns a channel that is closed when the stream is joined, or when
// SkipMark skips the mark. The channel is nil before ExpectMark.
func (r *Replay) Joined() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.joined
}

// SkipMark stops waiting for the mark with this ID: the output of the stream is
// written, and what was printed before the stream began is missing.
func (r *Replay) SkipMark(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.passing && r.markID == id {
		r.passing, r.position = true, logPosition{unknown: true}
		_, _ = r.Output.Write(r.early) // the next Write fails as well
		r.early = nil
		close(r.joined)
	}
}

// Write processes output of the stream. Errors are those of Output.
func (r *Replay) Write(p []byte) (int, error) {
	rest := p
	if len(r.partial) > 0 {
		rest = slices.Concat(r.partial, p)
		r.partial = nil
	}
	for len(rest) > 0 {
		var err error
		if rest, err = r.step(rest); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// step processes p up to and including the next mark, and returns the rest.
func (r *Replay) step(p []byte) (rest []byte, err error) {
	text, m, rest, complete := cutMark(p)
	if err := r.writeText(text); err != nil {
		return nil, err
	}
	switch {
	case !complete:
		r.partial = bytes.Clone(rest)
		return nil, nil
	case m != nil:
		return rest, r.handleMark(m)
	}
	return rest, nil
}

// maxEarly limits, in bytes, how much of the output before a mark is kept.
const maxEarly = 64 << 10

// holdEarly stores output before the expected mark. It returns false if no mark
// is expected.
func (r *Replay) holdEarly(text []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.passing {
		return false
	}
	r.early = append(r.early, text...)
	r.early = r.early[max(0, len(r.early)-maxEarly):]
	return true
}

// expected returns the ID of the expected mark, and whether one is expected.
func (r *Replay) expected() (id string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.markID, !r.passing
}

// writeText writes stream output that contains no mark, or holds it if a mark
// is expected.
func (r *Replay) writeText(text []byte) error {
	if r.holdEarly(text) || len(text) == 0 {
		return nil
	}
	r.position.bytes += r.crs.count(text)
	_, err := r.Output.Write(text)
	return err
}

// handleMark joins the stream if m is the expected mark.
func (r *Replay) handleMark(m *mark) error {
	id, ok := r.expected()
	switch {
	case !ok:
		r.position.bytes += r.crs.count(m.text) // the log contains the mark, too
		return nil
	case !m.matches(id):
		return nil
	}
	r.mu.Lock()
	early := r.early
	r.markID, r.early = "", nil // SkipMark has no effect from now on
	r.mu.Unlock()
	before := r.position.bytes
	err := r.writeLog(m.id)
	if err == nil || r.position.bytes > before {
		r.dropped = 0
	}
	var output *outputError
	if errors.As(err, &output) {
		return output.err
	}
	var retryable *retryableError
	switch {
	case err != nil && r.ctx.Err() != nil: // the session has ended
		return nil
	case errors.As(err, &retryable) && r.dropped < maxDroppedStreams:
		r.dropped++
		r.Source.LogUnreachable(err)
		return nil
	case err != nil:
		r.Source.OutputMissing(err)
		if r.position.bytes == before { // nothing of the log was written: write the output before the mark in its place
			if _, err := r.Output.Write(early); err != nil {
				return err
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.position, r.crs, r.early = logPosition{markID: m.id, since: m.at}, crStripper{}, nil
	if !r.passing {
		r.passing = true
		close(r.joined)
	}
	return nil
}

// errNoPosition means that SkipMark was called for the previous stream, so that
// the position in the log is not known.
var errNoPosition = errors.New("the position in the container's log is not known")

// writeLog writes the log from r.position to the mark untilID.
func (r *Replay) writeLog(untilID string) error {
	if r.position.unknown {
		return errNoPosition
	}
	return r.readLog(r.ctx, untilID, true)
}

// WriteRest writes the log after the position that the last stream reached. The
// caller calls it when the shell has ended, because servers may lose the end of
// a stream.
func (r *Replay) WriteRest(ctx context.Context) error {
	if r.position.unknown {
		return nil
	}
	r.partial = nil
	err := r.readLog(ctx, "", false)
	var output *outputError
	if errors.As(err, &output) {
		return output.err
	}
	return err
}

// outputError is an error of Replay.Output, not of the log.
type outputError struct{ err error }

func (e *outputError) Error() string { return e.err.Error() }
