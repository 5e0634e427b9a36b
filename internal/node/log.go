package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"kshell/internal/apiclient"
)

// logError means that the container's log could not be read.
type logError struct {
	Code int // the HTTP status; 0 if there was no response, or if it was cut off
	Err  error
}

func newLogError(err error) *logError {
	if refusal := apiclient.AsRefusal(err); refusal != nil {
		err = refusal
	}
	return &logError{Code: statusCode(err), Err: err}
}

func (e *logError) Error() string {
	// The text of these responses comes from a gateway or adds nothing to the
	// code.
	explained := apiclient.AsRefusal(e.Err) != nil
	if !explained && (e.Code >= http.StatusInternalServerError || e.Code == http.StatusTooManyRequests) {
		return fmt.Sprintf("cannot read the container's log (HTTP %d)", e.Code)
	}
	return "cannot read the container's log: " + e.Err.Error()
}

func (e *logError) Unwrap() error { return e.Err }

var (
	// errLogTooShort means that the log no longer contains the point where the
	// output was interrupted.
	errLogTooShort = errors.New("the container's log does not reach back far enough")
	// errLogEnded means that the log ended before the mark that readLog was to
	// reach (see Replay).
	errLogEnded = errors.New("the container's log ended early")
	// errLogUnfinished means that the log was read for logLimit.
	errLogUnfinished = fmt.Errorf("the container's log could not be read within %v", logLimit)
	// errLogSilent means that the log sent nothing for logTimeout.
	errLogSilent = fmt.Errorf("no data from the container's log within %v", logTimeout)
)

// retryableError means that one attempt to read the log failed and that another
// may succeed.
type retryableError struct {
	err          error
	noConnection bool // the connection failed
}

func (e *retryableError) Error() string { return e.err.Error() }
func (e *retryableError) Unwrap() error { return e.err }

const (
	// maxLogAttempts is the number of consecutive attempts to read the log
	// without new output, after which Replay gives up.
	maxLogAttempts = 4
	// logRetryPause is the pause before the third attempt. The second attempt
	// is made at once; the pause before the fourth is twice as long.
	logRetryPause = 500 * time.Millisecond
	// logTimeout is how long Replay waits for data of the log. Without a limit,
	// a log that lacks the mark up to which it is read would block the output
	// of the shell.
	logTimeout = 10 * time.Second
	// logLimit is how long Replay reads the log at most.
	logLimit = 5 * time.Minute
	// maxDroppedStreams is how many consecutive streams (see Replay) are given
	// up because the log is unreachable. Replay then writes the next stream
	// even if the log is still unreachable.
	maxDroppedStreams = 3
	// maxHeld is the maximum size, in bytes, of the log text that a logReader
	// keeps for join. It also limits the segments.
	maxHeld = 8 << 20
	// sinceSlack is subtracted from sinceTime, because sinceTime has only whole
	// seconds.
	sinceSlack = 2 * time.Second
)

// readLog reads the log from r.position to the mark with the ID untilID or, if
// untilID is empty, to the end of the log. It writes the text, except for the
// end that may repeat the output received. The returned reader keeps that end.
// If r.position was not found in the log, readLog writes nothing, and the
// reader keeps all of the text. The reader may be nil after an error.
//
// If a request for the log fails or its response is cut off, the log is
// requested again from the position that was reached. The error is a
// *retryableError if the last attempt failed because of the connection.
func (r *Replay) readLog(ctx context.Context, untilID string, received []segment) (best *logReader, err error) {
	ctx, stop := context.WithTimeoutCause(ctx, logLimit, errLogUnfinished)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(logTimeout, func() { cancel(errLogSilent) })
	defer silence.Stop()
	for attempt := 1; ; attempt++ {
		before := r.position.bytes
		reader, err := r.readLogOnce(ctx, untilID, received, silence)
		if err == nil {
			return reader, nil
		}
		best = further(best, reader)
		if r.position.bytes > before {
			attempt = 1
		}
		var retryable *retryableError
		switch {
		case !errors.As(err, &retryable):
			return best, err
		case attempt < maxLogAttempts && sleep(ctx, time.Duration(attempt-1)*logRetryPause):
		case retryable.noConnection:
			return best, retryable
		default:
			return best, retryable.err
		}
	}
}

// further returns the one of two readers of the same log that has read more of
// it. later was created after earlier. Each may be nil.
func further(earlier, later *logReader) *logReader {
	switch {
	case later == nil:
		return earlier
	case earlier == nil || later.found && !earlier.found:
		return later
	case earlier.found && !later.found && earlier.placed():
		return earlier
	case later.end() >= earlier.end():
		return later
	}
	return earlier
}

// sleep waits for d, or until ctx ends. It returns false if ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// readLogOnce makes one attempt to read the log; see readLog. The reader is nil
// if the log could not be opened.
func (r *Replay) readLogOnce(
	ctx context.Context, untilID string, received []segment, silence *time.Timer,
) (*logReader, error) {
	from := LogStart{Since: r.position.since, Tail: r.position.tailLines}
	if !from.Since.IsZero() {
		from.Since = from.Since.Add(-sinceSlack)
	}
	log, err := r.Source.OpenLog(ctx, from, untilID != "")
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil && apiclient.IsTransient(err):
		failure := newLogError(err)
		return nil, &retryableError{failure, failure.Code == 0}
	case err != nil:
		return nil, newLogError(err)
	}
	defer func() { _ = log.Close() }() // the log was only read
	reader := newLogReader(r, untilID, received)
	buf := make([]byte, 32<<10)
	var unprocessed []byte
	for {
		n, err := log.Read(buf)
		if n > 0 {
			silence.Reset(logTimeout)
		}
		unprocessed = append(unprocessed, buf[:n]...)
		done, writeErr := reader.process(&unprocessed, untilID == "" && errors.Is(err, io.EOF))
		switch {
		case errors.Is(writeErr, errLogTooShort):
			return reader, writeErr
		case writeErr != nil:
			return reader, &outputError{writeErr}
		case done:
			return reader, nil
		case err == nil:
		case ctx.Err() != nil:
			return reader, context.Cause(ctx)
		case untilID == "" && errors.Is(err, io.EOF):
			return reader, nil
		case errors.Is(err, io.EOF):
			return reader, &retryableError{errLogEnded, false}
		default:
			return reader, &retryableError{newLogError(err), true}
		}
	}
}

// logReader is the state of one attempt to read the log. It counts and keeps
// text without marks and without the CRs that a crStripper removes.
type logReader struct {
	replay  *Replay
	untilID string // ID of the mark to stop at; empty to read to the end
	keep    int    // the number of bytes at the end of the text that are kept and not written
	found   bool   // the position is known: the mark replay.position.markID was read, or nothing was written before
	seen    int64  // the number of bytes after the mark that were written, by this or an earlier attempt
	held    []byte // the text that is kept: after these bytes or, if found is not set, from the beginning
	omitted amount // the text before held that was not kept, because of maxHeld

	wroteKept bool // text that may repeat the output received was written, because it exceeded maxHeld

	crs    crStripper
	buffer []byte // reused by processText
}

// newLogReader returns a reader that keeps the end of the log that may repeat
// the output received. If earlier streams have delivered output, too, the
// reader keeps up to maxHeld bytes.
func newLogReader(r *Replay, untilID string, received []segment) *logReader {
	reader := &logReader{replay: r, untilID: untilID, keep: maxHeld}
	if last := len(received) - 1; last >= 0 && !hasText(received[:last]) {
		reader.keep = len(received[last].text)
	}
	reader.found = r.position == logPosition{inexact: r.position.inexact} // the position is the beginning of the log
	return reader
}

// placed reports whether the kept text begins where the written output ends.
func (r *logReader) placed() bool { return r.found && !r.replay.position.inexact }

// end returns the number of bytes that were read and processed.
func (r *logReader) end() int64 { return r.seen + r.omitted.bytes + int64(len(r.held)) }

// process processes as much of p as it can and sets p to the rest. It reports
// whether the mark untilID was read. If last is set, no more input follows. The
// error is errLogTooShort if the log begins after the mark untilID. Other
// errors are those of Replay.Output.
func (r *logReader) process(p *[]byte, last bool) (done bool, err error) {
	for {
		text, m, rest, complete := cutMark(*p)
		if !complete && last { // the log ends here, so the text is not a mark
			text, rest, complete = *p, nil, true
		}
		if err := r.processText(text, m != nil || last && complete); err != nil {
			return false, err
		}
		*p = rest
		if !complete || m == nil {
			return false, nil
		}
		switch {
		case m.id == r.untilID:
			return true, nil
		case m.follows(r.untilID): // the mark untilID is not in the log any more
			return false, errLogTooShort
		case !r.found && m.id == r.replay.position.markID:
			r.found, r.held, r.omitted = true, nil, amount{}
		}
	}
}

// processText processes log text that contains no mark. It skips text that was
// already written, keeps the end, and writes the text in between. While the
// position is not known, it writes nothing. If complete is set, the CRs at the
// end of p are processed at once, because no LF follows them.
func (r *logReader) processText(p []byte, complete bool) error {
	r.buffer = r.crs.strip(r.buffer[:0], p)
	if complete {
		r.buffer = r.crs.flush(r.buffer)
	}
	p = r.buffer
	if r.found {
		known := min(max(0, r.replay.position.bytes-r.seen), int64(len(p)))
		r.seen += known
		p = p[known:]
	}
	r.held = append(r.held, p...)
	keep := r.keep
	if !r.placed() {
		keep = maxHeld
	}
	excess := len(r.held) - keep
	if excess <= 0 {
		return nil
	}
	text := r.held[:excess]
	r.held = r.held[excess:]
	if !r.placed() {
		r.omitted.add(text)
		return nil
	}
	r.seen += int64(excess)
	r.wroteKept = r.keep == maxHeld
	return r.replay.showLog(text)
}
