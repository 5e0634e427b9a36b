package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"kshell/internal/apiclient"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// LogError means that the container's log could not be read.
type LogError struct {
	Code int // the HTTP status; 0: no response, or a response that was cut off
	Err  error
}

func newLogError(err error) *LogError {
	e := &LogError{Err: err}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		e.Code = int(status.Status().Code)
	}
	return e
}

func (e *LogError) Error() string {
	if e.Code >= http.StatusInternalServerError || e.Code == http.StatusTooManyRequests { // the text is a gateway's, or adds nothing to the code
		return fmt.Sprintf("cannot read the container's log (HTTP %d)", e.Code)
	}
	return "cannot read the container's log: " + e.Err.Error()
}

func (e *LogError) Unwrap() error { return e.Err }

// errShort means that the log does not go back to the point where the output
// was interrupted.
var errShort = errors.New("the container's log does not reach back far enough")

// errEarly means that the log ended while the shell was running.
var errEarly = errors.New("the container's log ended early")

// errLate means that the log sent nothing for logPatience.
var errLate = fmt.Errorf("no data from the container's log within %v", logPatience)

// brokenError means that one attempt to read the log failed and that another
// may succeed. link reports whether the connection failed.
type brokenError struct {
	err  error
	link bool
}

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

const (
	// logAttempts is the number of attempts in a row to read the log that bring
	// nothing new.
	logAttempts = 4
	// logPause is the pause before the third attempt. The second attempt is
	// made at once, and the pause before the fourth is twice as long.
	logPause = 500 * time.Millisecond
	// logPatience is how long the log may send nothing. It keeps a log without
	// the mark from holding up the shell.
	logPatience = 10 * time.Second
	// patienceWithLogs is the number of streams in a row that are dropped
	// because there is no connection for the log. After that the stream is
	// joined without it.
	patienceWithLogs = 3
	// slack is subtracted from sinceTime, which counts whole seconds.
	slack = 2 * time.Second
)

// read writes the log from the position to the mark until or, if until is
// empty, to the end of the log. After a refusal or a cut the log is requested
// again, from the position that has been reached. If that failed for lack of a
// connection, the error is a *brokenError.
func (t *Replay) read(ctx context.Context, until string, follow bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(logPatience, func() { cancel(errLate) })
	defer silence.Stop()
	for attempt := 1; ; attempt++ {
		before := t.at.bytes
		err := t.readOnce(ctx, until, follow, silence)
		if t.at.bytes > before {
			attempt = 1
		}
		var broken *brokenError
		switch {
		case !errors.As(err, &broken):
			return err
		case attempt < logAttempts && pause(ctx, time.Duration(attempt-1)*logPause):
		case broken.link:
			return broken
		default:
			return broken.err
		}
	}
}

// pause waits, and reports whether the context has not ended.
func pause(ctx context.Context, long time.Duration) bool {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// readOnce makes one attempt to read the log; see read.
func (t *Replay) readOnce(ctx context.Context, until string, follow bool, silence *time.Timer) error {
	from := LogStart{Since: t.at.since, Tail: t.at.tail}
	if !from.Since.IsZero() {
		from.Since = from.Since.Add(-slack)
	}
	log, err := t.Log(ctx, from, follow)
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && apiclient.IsTransient(err):
		failure := newLogError(err)
		return &brokenError{failure, failure.Code == 0}
	case err != nil:
		return newLogError(err)
	}
	defer func() { _ = log.Close() }() // it was only read
	r := reading{tape: t, until: until, found: t.at.mark == "" && t.at.tail == 0}
	buf := make([]byte, 32<<10)
	var held []byte
	for {
		n, err := log.Read(buf)
		if n > 0 {
			silence.Reset(logPatience)
		}
		held = append(held, buf[:n]...)
		done, writing := r.take(&held, until == "" && errors.Is(err, io.EOF))
		switch {
		case writing != nil:
			return &writeError{writing}
		case done:
			return nil
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case until == "" && errors.Is(err, io.EOF):
			if err := r.short(); err != nil {
				return &writeError{err}
			}
			return nil
		case errors.Is(err, io.EOF):
			return &brokenError{errEarly, false}
		default:
			return &brokenError{newLogError(err), true}
		}
	}
}
