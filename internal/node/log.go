package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kshell/internal/apiclient"
)

// logError means that the container's log could not be read.
type logError struct {
	Code int // the HTTP status; 0 if there was no response, or if it was cut off
	Err  error
}

func newLogError(err error) *logError {
	e := &logError{Err: err}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		e.Code = int(status.Status().Code)
	}
	return e
}

func (e *logError) Error() string {
	// The text of these responses comes from a gateway or adds nothing to the
	// code.
	if e.Code >= http.StatusInternalServerError || e.Code == http.StatusTooManyRequests {
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
	// maxDroppedStreams is how many consecutive streams (see Replay) are given
	// up because the log is unreachable. Replay then writes the next stream
	// even if the log is still unreachable.
	maxDroppedStreams = 3
	// sinceSlack is subtracted from sinceTime, because sinceTime has only whole
	// seconds.
	sinceSlack = 2 * time.Second
)

// readLog writes the log from r.position to the mark with the ID untilID or, if
// untilID is empty, to the end of the log. If a request for the log fails or
// its response is cut off, the log is requested again from the position that
// was reached. The error is a *retryableError if the last attempt failed
// because of the connection.
func (r *Replay) readLog(ctx context.Context, untilID string, follow bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(logTimeout, func() { cancel(errLogSilent) })
	defer silence.Stop()
	for attempt := 1; ; attempt++ {
		before := r.position.bytes
		err := r.readLogOnce(ctx, untilID, follow, silence)
		if r.position.bytes > before {
			attempt = 1
		}
		var retryable *retryableError
		switch {
		case !errors.As(err, &retryable):
			return err
		case attempt < maxLogAttempts && sleep(ctx, time.Duration(attempt-1)*logRetryPause):
		case retryable.noConnection:
			return retryable
		default:
			return retryable.err
		}
	}
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

// readLogOnce makes one attempt to read the log; see readLog.
func (r *Replay) readLogOnce(ctx context.Context, untilID string, follow bool, silence *time.Timer) error {
	from := LogStart{Since: r.position.since, Tail: r.position.tailLines}
	if !from.Since.IsZero() {
		from.Since = from.Since.Add(-sinceSlack)
	}
	log, err := r.Source.OpenLog(ctx, from, follow)
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && apiclient.IsTransient(err):
		failure := newLogError(err)
		return &retryableError{failure, failure.Code == 0}
	case err != nil:
		return newLogError(err)
	}
	defer func() { _ = log.Close() }() // the log was only read
	reader := logReader{replay: r, untilID: untilID, found: r.position.markID == "" && r.position.tailLines == 0}
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
		case writeErr != nil:
			return &outputError{writeErr}
		case done:
			return nil
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case untilID == "" && errors.Is(err, io.EOF):
			if err := reader.finish(); err != nil {
				return &outputError{err}
			}
			return nil
		case errors.Is(err, io.EOF):
			return &retryableError{errLogEnded, false}
		default:
			return &retryableError{newLogError(err), true}
		}
	}
}

// maxUnmatched limits, in bytes, the log text that is kept until the mark of
// the position (replay.position.markID) is found in the log.
const maxUnmatched = 1 << 20

// logReader is the state of one attempt to read the log.
type logReader struct {
	replay    *Replay
	untilID   string // ID of the mark to stop at; empty to read to the end
	found     bool   // the mark replay.position.markID was read
	seen      int64  // bytes after that mark, counted by a crStripper
	unmatched []byte // text before that mark
	crs       crStripper
	buffer    []byte // reused by processText
}

// process processes as much of p as it can and sets p to the rest. It reports
// whether the mark untilID was read. If last is set, no more input follows.
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
			return true, r.finish()
		case !r.found && m.id == r.replay.position.markID:
			r.found, r.unmatched, r.crs = true, nil, crStripper{}
		case r.found:
			r.advance(r.crs.count(m.text))
		}
	}
}

// processText writes log text that contains no mark. It omits text that was
// already written. If complete is set, CRs at the end of p are written at once,
// because no LF follows them.
func (r *logReader) processText(p []byte, complete bool) error {
	r.buffer = r.crs.strip(r.buffer[:0], p)
	if complete {
		r.buffer = r.crs.flush(r.buffer)
	}
	p = r.buffer
	if !r.found {
		r.unmatched = append(r.unmatched, p...)
		r.unmatched = r.unmatched[max(0, len(r.unmatched)-maxUnmatched):]
		return nil
	}
	known := min(max(0, r.replay.position.bytes-r.seen), int64(len(p)))
	if known < int64(len(p)) {
		if err := r.write(p[known:]); err != nil {
			return err
		}
	}
	r.advance(int64(len(p)))
	return nil
}

// advance counts n bytes that have been written, in this attempt or before. The
// next attempt does not write them again.
func (r *logReader) advance(n int64) {
	r.seen += n
	r.replay.position.bytes = max(r.replay.position.bytes, r.seen)
}

// write writes text with a CR before each LF, as a terminal prints it.
func (r *logReader) write(p []byte) error {
	_, err := r.replay.Output.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n")))
	return err
}

// finish is called at the end of the log or at the mark untilID. If the
// position was not found in the log, finish writes the text that was kept and,
// if the position is at or after a mark, reports missing output.
func (r *logReader) finish() error {
	if r.found {
		return nil
	}
	if r.replay.position.markID != "" {
		r.replay.Source.OutputMissing(errLogTooShort)
	}
	return r.write(r.unmatched)
}
