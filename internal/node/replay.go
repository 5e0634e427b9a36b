package node

import (
	"bytes"
	"cmp"
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
// until the channel of Joined is closed. Replay holds the stream's output
// before the mark. When it reads the mark, it first writes the log, from the
// position that the previous stream reached to the position at which the new
// stream begins. The new stream is then joined, and Replay writes its output.
// Replay removes all marks, including those of other clients.
//
// If the log has a gap, for example because the node has rotated or deleted the
// log, Replay still writes all output that the streams have delivered, and
// writes nothing twice. It compares the text of the log with the output that
// was written and the output that the streams have delivered; see join. It
// reports each gap to Source.
//
// containerd's log lacks the CRs before an LF. Therefore Replay does not count
// or compare these CRs, and adds a CR before each LF of the log.
//
// Write, WriteRest, WriteReceived and ExpectMark must be called from one
// goroutine at a time; Joined and SkipMark may be called from any goroutine.
type Replay struct {
	Output io.Writer
	Source ReplaySource

	// Used by the goroutine that calls Write, WriteRest, WriteReceived and
	// ExpectMark. SkipMark also sets position, shown, shownAt and crs, while
	// that goroutine writes no output.
	ctx      context.Context // limits the reading of the log in Write; set by ExpectMark
	began    time.Time       // when ExpectMark was called for the stream
	position logPosition     // of the end of the output that was written
	shown    tail            // the end of the output that was written
	shownAt  time.Time       // when the last output of a stream was written
	crs      crStripper      // state for the output since the mark position.markID
	partial  []byte          // the last bytes of the stream so far, if they may begin a mark
	dropped  int             // number of consecutive streams that were not joined; see LogUnreachable
	buffer   []byte          // reused by writeText

	mu      sync.Mutex
	passing bool          // output is written; otherwise it is held until the mark
	markID  string        // ID of the expected mark; empty once that mark was read
	held    segments      // output of the streams that was not written yet
	joined  chan struct{} // see Joined
}

// ReplaySource provides the container's log to a Replay and handles failures of
// the log. Its methods are called in the goroutine that calls Write, WriteRest
// or WriteReceived.
type ReplaySource interface {
	// OpenLog opens the container's log. If follow is set, the reader also
	// returns what is printed later, until it is closed or the context ends.
	OpenLog(ctx context.Context, from LogStart, follow bool) (io.ReadCloser, error)
	// OutputMissing is called when output is missing or may be missing. It is
	// called after the output before the gap was written, and before the output
	// after the gap is written. The stream continues.
	OutputMissing(gap Gap)
	// LogUnreachable is called when the log cannot be read because the
	// connection failed. The stream is most likely lost, too, and Replay does
	// not join it. LogUnreachable must close the stream, so that the caller of
	// Replay reconnects.
	LogUnreachable(err error)
}

// Gap describes output that is missing, or may be missing.
type Gap struct {
	Err error // the reason
	// The missing output was printed between From and To, by the local clock.
	// From is when the last output before the gap was written, or zero if there
	// was none. To is when the stream after the gap began or, at the end of the
	// session, the present time.
	From, To time.Time
	// Bytes and Lines are the size of the output that is certainly missing. It
	// was received or read, but exceeded the limits of Replay. More output may
	// be missing.
	Bytes, Lines int64
}

// LogStart is the position at which reading of the log begins.
type LogStart struct {
	Since time.Time // by the node's clock; the zero value means the beginning
	Tail  int64     // only this many lines from the end; 0 means all
}

// logPosition is how much of the shell's output has been written: a number of
// bytes after a mark, counted by a crStripper. Other marks do not count.
type logPosition struct {
	markID    string // empty for the beginning of the log
	since     time.Time
	bytes     int64
	tailLines int64 // if not 0, nothing was written yet; begin with this many last lines
	inexact   bool  // more output was written, at an unknown distance after this position; see SkipMark
}

// StartAtTail makes the output begin with the last lines of the log.
func (r *Replay) StartAtTail(lines int64) { r.position = logPosition{tailLines: lines} }

// ExpectMark begins a new stream, and holds its output before the mark with
// this ID. The ID in the mark may have a suffix after a dash, so that each
// attempt to print the mark can have its own ID. ctx limits the reading of the
// log.
func (r *Replay) ExpectMark(ctx context.Context, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx, r.partial, r.began = ctx, nil, time.Now()
	r.passing, r.markID, r.joined = false, id, make(chan struct{})
	r.held.begin()
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
	if r.passing || r.markID != id {
		return
	}
	r.passing, r.position.inexact, r.position.tailLines, r.crs = true, true, 0, crStripper{}
	for _, s := range r.held.take() {
		_ = r.show(s.raw, s.text) // the next Write returns the error of Output
	}
	r.shownAt = time.Now()
	close(r.joined)
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

// hold stores output before the expected mark. It returns false if no mark is
// expected.
func (r *Replay) hold(text []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.passing {
		return false
	}
	r.held.add(text)
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
	if len(text) == 0 || r.hold(text) {
		return nil
	}
	r.buffer = r.crs.strip(r.buffer[:0], text)
	r.shownAt = time.Now()
	return r.show(text, r.buffer)
}

// show writes raw to Output. text is raw without the CRs that a crStripper
// removes.
func (r *Replay) show(raw, text []byte) error {
	if _, err := r.Output.Write(raw); err != nil {
		return err
	}
	r.advance(text)
	return nil
}

// advance moves the position to the end of text, which was written.
func (r *Replay) advance(text []byte) {
	if !r.position.inexact {
		r.position.bytes += int64(len(text))
	}
	r.shown.add(text)
}

// showLog writes text of the log, with a CR before each LF, as a terminal
// prints it.
func (r *Replay) showLog(text []byte) error {
	return r.show(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), text)
}

// handleMark joins the stream if m is the expected mark.
func (r *Replay) handleMark(m *mark) error {
	switch id, ok := r.expected(); {
	case !ok: // the CRs before the mark were written, and no LF follows them
		r.advance(r.crs.flush(nil))
		return nil
	case !m.matches(id):
		r.mu.Lock()
		defer r.mu.Unlock()
		r.held.flush()
		return nil
	}
	r.mu.Lock()
	r.markID = "" // SkipMark has no effect from now on
	r.held.flush()
	received := r.held.list
	r.mu.Unlock()
	before := r.position.bytes
	log, err := r.readLog(r.ctx, m.id, received)
	if err == nil || r.position.bytes > before {
		r.dropped = 0
	}
	var output *outputError
	var retryable *retryableError
	switch {
	case errors.As(err, &output):
		return output.err
	case err != nil && r.ctx.Err() != nil: // the session has ended; see WriteRest
		return nil
	case errors.As(err, &retryable) && r.dropped < maxDroppedStreams:
		r.dropped++
		r.Source.LogUnreachable(err)
		return nil
	}
	r.mu.Lock()
	received = r.held.take()
	r.mu.Unlock()
	if err := r.writeJoined(log, err, received, false); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.position, r.crs, r.shownAt = logPosition{markID: m.id, since: m.at}, crStripper{}, time.Now()
	if !r.passing {
		r.passing = true
		close(r.joined)
	}
	return nil
}

// writeJoined writes the log that readLog has kept, joined to the output
// received from the streams. logErr is the error of readLog. If end is set,
// this is the end of the output, and a gap after it is not reported if logErr
// is not nil. Errors are those of Output.
func (r *Replay) writeJoined(log *logReader, logErr error, received []segment, end bool) error {
	text := logText{
		complete: logErr == nil, earlier: r.position.inexact, lastLines: r.position.tailLines > 0,
		fromStart: r.position.markID == "",
	}
	if log != nil {
		text.text, text.placed, text.omitted = log.held, log.placed(), log.omitted
		if log.placed() && log.wroteKept { // the log contains all of received
			received = received[len(received)-1:]
		}
	}
	gap := Gap{Err: cmp.Or(logErr, errLogTooShort), From: r.shownAt, To: r.began}
	if end {
		gap.To = time.Now()
	}
	for _, p := range join(&r.shown, text, received) {
		if end && logErr != nil && len(p.text) == 0 {
			break
		}
		if p.gap {
			gap.Bytes, gap.Lines = p.omitted.bytes, p.omitted.lines
			r.Source.OutputMissing(gap)
		}
		var err error
		if p.raw != nil {
			err = r.show(p.raw, p.text)
		} else {
			err = r.showLog(p.text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// WriteRest writes the log after the position that the last stream reached, and
// the output that is held. The caller calls it when the shell has ended,
// because servers may lose the end of a stream. Errors are those of Output and
// of the log. After an error of the log, the end of the output may be missing.
func (r *Replay) WriteRest(ctx context.Context) error {
	r.partial = nil
	r.mu.Lock()
	r.held.begin() // the log ends later than the output that is held
	received := r.held.take()
	r.mu.Unlock()
	log, err := r.readLog(ctx, "", received)
	var output *outputError
	if errors.As(err, &output) {
		return output.err
	}
	return cmp.Or(r.writeJoined(log, err, received, true), err)
}

// WriteReceived writes the output that is held. The caller calls it when the
// session has ended and the shell has not. reason is why output before the held
// output may be missing. Errors are those of Output.
func (r *Replay) WriteReceived(reason error) error {
	r.mu.Lock()
	received := r.held.take()
	r.mu.Unlock()
	if !hasText(received) {
		return nil
	}
	return r.writeJoined(nil, reason, received, true)
}

// outputError is an error of Replay.Output, not of the log.
type outputError struct{ err error }

func (e *outputError) Error() string { return e.err.Error() }
