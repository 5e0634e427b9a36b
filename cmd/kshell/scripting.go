package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/cleanup"
	"kshell/internal/notice"
	"kshell/internal/stream"
)

// scriptFlags are for those who type nothing and read exit codes.
type scriptFlags struct {
	timeout    time.Duration
	statusFD   int
	statusFile string
	stdinFile  string
	noStdin    bool
}

// noFD is the status descriptor of those who want none.
const noFD = -1

func (f *scriptFlags) addTo(flags *pflag.FlagSet) {
	flags.DurationVar(&f.timeout, "timeout", 0, "end the command after this time, with exit code 124; 0: never")
	flags.IntVar(&f.statusFD, "status-fd", noFD, "write how the command ended to this file descriptor, as one line of JSON")
	flags.StringVar(&f.statusFile, "status-file", "", "write how the command ended to this file, as one line of JSON")
	flags.StringVar(&f.stdinFile, "stdin-file", "", "pass this file to the command as its stdin")
	flags.BoolVar(&f.noStdin, "no-stdin", false, "pass no stdin, whatever -i says")
}

// check finds what cannot be meant.
func (f *scriptFlags) check(cmd *cobra.Command) error {
	switch {
	case f.noStdin && f.stdinFile != "":
		return usage(cmd, "--no-stdin and --stdin-file contradict each other")
	case f.statusFD < noFD || f.statusFD >= 0 && f.statusFD < 3:
		return &usageError{
			fmt.Sprintf("--status-fd %d: 0, 1 and 2 are the command's", f.statusFD), "--status-fd 3 with 3>FILE behind it, or --status-file FILE",
		}
	case f.statusFD != noFD && f.statusFile != "":
		return usage(cmd, "--status-fd and --status-file are two ways to say the same")
	}
	return notNegative(cmd, "timeout", f.timeout)
}

// notNegative refuses a time that no flag can mean.
func notNegative(cmd *cobra.Command, flag string, d time.Duration) error {
	if d < 0 {
		return usage(cmd, fmt.Sprintf("--%s %v is before the beginning", flag, d))
	}
	return nil
}

// timeoutError is the cause of a context that --timeout has ended.
type timeoutError struct{ after time.Duration }

func (e timeoutError) Error() string {
	return fmt.Sprintf("the command did not end within %v (--timeout)", e.after)
}

// limited is ctx with an end after --timeout.
func (f *scriptFlags) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, f.timeout, timeoutError{f.timeout})
}

// openStatus opens where the status goes; nil if nowhere. It does so before anything runs: a script must not learn of its mistake afterwards.
func (f *scriptFlags) openStatus() (io.WriteCloser, error) {
	if f.statusFile != "" {
		return os.Create(f.statusFile) //nolint:gosec // the user named the file
	}
	if f.statusFD == noFD {
		return nil, nil
	}
	file := os.NewFile(uintptr(f.statusFD), "status")
	if file == nil {
		return nil, fmt.Errorf("--status-fd: there is no descriptor %d", f.statusFD)
	}
	if _, err := file.Stat(); err != nil {
		return nil, notice.WithHint(
			fmt.Errorf("--status-fd: descriptor %d is not open", f.statusFD), fmt.Sprintf("put %d>FILE behind the command line", f.statusFD),
		)
	}
	return file, nil
}

// status is what --status-fd and --status-file say: one line of JSON, when all is over.
type status struct {
	ExitCode  int    `json:"exitCode"` // kshell's own
	Cause     string `json:"cause"`    // see cause
	Message   string `json:"message,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	UID       string `json:"uid,omitempty"`
	Container string `json:"container,omitempty"`
	Node      string `json:"node,omitempty"`
	Protocol  string `json:"protocol,omitempty"` // the WebSocket subprotocol, or "SPDY/3.1 " and its
	Mode      string `json:"mode,omitempty"`     // exact or plain; none if nothing ran
	Inexact   string `json:"inexact,omitempty"`  // why not exact, where that was wanted
	// Bytes of the command's own streams.
	StdinBytes  int64 `json:"stdinBytes"`
	StdoutBytes int64 `json:"stdoutBytes"`
	StderrBytes int64 `json:"stderrBytes"`
	// Times in RFC 3339; connected: when the command was asked for.
	Start     time.Time  `json:"start"`
	Connected *time.Time `json:"connected,omitempty"`
	End       time.Time  `json:"end"`
}

// newStatus is what there is to say of j, which is nil if it did not come to that.
func newStatus(j *job, start time.Time, err error) status {
	s := status{ExitCode: exitCode(err), Cause: cause(err), Start: start, End: time.Now()}
	if err != nil {
		s.Message = notice.Clean(err.Error())
	}
	if j == nil {
		return s
	}
	s.Namespace, s.Pod, s.Container = j.at.namespace, j.at.pod, j.at.container
	if seen := j.at.seen; seen != nil {
		s.UID, s.Node = string(seen.Pod.UID), seen.Pod.Spec.NodeName
	}
	s.Protocol, s.Mode, s.Inexact = j.told.protocol, j.told.mode, j.told.inexact
	s.StdinBytes, s.StdoutBytes, s.StderrBytes = j.in.count(), j.out.count(), j.err.count()
	if !j.told.connected.IsZero() {
		s.Connected = &j.told.connected
	}
	return s
}

// write says s to w, if there is anybody to hear it.
func (s status) write(w io.WriteCloser) error {
	if w == nil {
		return nil
	}
	return errors.Join(json.NewEncoder(w).Encode(s), w.Close())
}

// cause is a word for how it ended, for programs: exited (the exit code is the command's), signal, timeout, usage, not-found, not-executable,
// refused, unreachable, lost, output, input or failed.
func cause(err error) string {
	var exit *stream.ExitError
	var remote *stream.RemoteError
	var lost *stream.LostError
	var refused *stream.HandshakeError
	var unreachable *stream.DialError
	var unstarted *stream.StartError
	var output *stream.OutputError
	var input *stream.InputError
	var signal cleanup.SignalError
	var timeout timeoutError
	switch {
	case err == nil || errors.As(err, &exit):
		return "exited"
	case errors.As(err, &signal):
		return "signal"
	case errors.As(err, &timeout):
		return "timeout"
	case errors.As(err, &remote) && remote.Start == stream.StartNotFound:
		return "not-found"
	case errors.As(err, &remote) && remote.Start == stream.StartNotExecutable:
		return "not-executable"
	case errors.As(err, &refused):
		return "refused"
	case errors.As(err, &unreachable), errors.As(err, &unstarted):
		return "unreachable"
	case errors.As(err, &lost):
		return "lost"
	case errors.As(err, &output):
		return "output"
	case errors.As(err, &input):
		return "input"
	case exitCode(err) == exitUsage:
		return "usage"
	default:
		return "failed"
	}
}
