package fanout

import (
	"context"
	"io"
	"sync"
)

// output is the local stdout and stderr. Writes to them are serialized, so
// lines do not mix even if both are the same terminal.
type output struct {
	cancel context.CancelCauseFunc // called when stdout cannot be written
	// toStdout and toStderr call write, which writes to stdout or stderr. If that is
	// the terminal with the progress line, they remove the line first.
	toStdout, toStderr func(write func())

	mu             sync.Mutex
	stdout, stderr io.Writer
	err            error // the first error of stdout
	stderrFailed   bool
}

// Err returns the first error of stdout. After an error, nothing more is
// written to stdout.
func (o *output) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// Stdout returns a writer to stdout. Each Write must be of whole lines.
func (o *output) Stdout() io.Writer { return stdoutWriter{o} }

// Stderr returns a writer to stderr, which never fails: a command continues
// even if its stderr cannot be written. Each Write must be of whole lines.
func (o *output) Stderr() io.Writer { return stderrWriter{o} }

type stdoutWriter struct{ *output }

// Write implements io.Writer.
func (w stdoutWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	var n int
	var err error
	w.toStdout(func() { n, err = w.stdout.Write(p) })
	if err != nil {
		w.err = err
		w.cancel(err)
	}
	return n, err
}

type stderrWriter struct{ *output }

// Write implements io.Writer.
func (w stderrWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stderrFailed {
		var err error
		w.toStderr(func() { _, err = w.stderr.Write(p) })
		w.stderrFailed = err != nil
	}
	return len(p), nil
}
