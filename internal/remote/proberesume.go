package remote

import (
	"context"
	"errors"

	"kshell/internal/notice"
	"kshell/internal/resume"
	"kshell/internal/stream"
)

// ProbeResume reports what the container has that the session agent needs. It
// runs a script in the container, which changes nothing. The error is a
// *resume.UnableError if the agent cannot be used, or an error of the connection
// with a hint.
func (c *Command) ProbeResume(ctx context.Context) (resume.Facts, error) {
	if why := c.unusable(); why != "" {
		return resume.Facts{}, &resume.UnableError{Reason: why}
	}
	start := c.start(false)
	out, err := c.internalOutput(ctx, start.ProbeArgv())
	var exit *stream.ExitError
	switch {
	case isNotFound(err):
		return resume.Facts{}, &resume.UnableError{Reason: "the container has no sh", Err: err}
	case err != nil && !errors.As(err, &exit):
		return resume.Facts{}, c.explain(err, false)
	}
	facts, err := start.Probe(out)
	var unable *resume.UnableError
	if errors.As(err, &unable) {
		return facts, notice.WithHint(err, "--resume-dir names other directories of the container; "+
			"an emptyDir volume is one in which files can be written and executed")
	}
	return facts, err
}
