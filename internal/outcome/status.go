package outcome

import (
	"encoding/json"
	"errors"
	"io"
	"time"

	"kshell/internal/notice"
)

// Status is the record that --status-fd and --status-file write when kshell has
// ended: one line of JSON.
type Status struct {
	ExitCode  int    `json:"exitCode"` // of kshell
	Cause     Cause  `json:"cause"`
	Message   string `json:"message,omitempty"` // the error
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	UID       string `json:"uid,omitempty"` // of the pod
	Container string `json:"container,omitempty"`
	Node      string `json:"node,omitempty"`
	Protocol  string `json:"protocol,omitempty"` // such as v5.channel.k8s.io or "SPDY/3.1 v4.channel.k8s.io"
	Mode      string `json:"mode,omitempty"`     // exact, resume or plain; empty if nothing ran
	Session   string `json:"session,omitempty"`  // the ID of the session of the session agent
	Inexact   string `json:"inexact,omitempty"`  // why the mode is not exact, although exact was wanted
	AuditID   string `json:"auditID,omitempty"`  // of all requests to the API server
	// How many bytes were read from stdin, and written to stdout and stderr.
	StdinBytes  int64 `json:"stdinBytes"`
	StdoutBytes int64 `json:"stdoutBytes"`
	StderrBytes int64 `json:"stderrBytes"`
	// Times in RFC 3339.
	Start     time.Time  `json:"start"`
	Connected *time.Time `json:"connected,omitempty"` // when the last connection for the command was opened
	End       time.Time  `json:"end"`
}

// NewStatus returns the record of a command that started at start and has now
// ended with err. The fields about the pod, the mode and the streams are empty.
func NewStatus(start time.Time, err error) Status {
	o := Classify(err)
	s := Status{ExitCode: o.ExitCode, Cause: o.Cause, Start: start, End: time.Now()}
	if err != nil {
		s.Message = notice.Clean(err.Error())
	}
	return s
}

// Write writes s to w and closes w. It does nothing if w is nil.
func (s Status) Write(w io.WriteCloser) error {
	if w == nil {
		return nil
	}
	return errors.Join(json.NewEncoder(w).Encode(s), w.Close())
}
