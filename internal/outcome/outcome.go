// Package outcome maps the error that a command ended with to the exit code,
// the cause and the --status-file record. It does not know sockets, flags or
// what is printed.
//
// Invariants:
//   - Classify is the only place that decides exit codes and causes.
//   - Only a nil error, which means that the command reported success, and
//     ErrDetached have exit code 0.
package outcome

import (
	"errors"
	"syscall"

	"kshell/internal/cleanup"
	"kshell/internal/kubeconfig"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

// ExitCodes is the table of exit codes, for --help. README.md has the same
// table.
const ExitCodes = `  0      the command reported success, or is left running in its session (~d, --detach)
  1-254  the command's own exit code
  2      kshell was called with wrong arguments (or the command exited with 2)
  124    --timeout expired before the command ended
  126    the container could not run the command
  127    the container has no such command
  128+n  signal n ended kshell; a shell shows this code (130: Ctrl-C, 143: TERM, 141: the reader closed the output)
  255    kshell failed, --idle-timeout expired, or the connection was lost before the command reported a result
`

// The exit codes that kshell sets. ExitSignal is added to the number of a
// signal.
const (
	ExitUsage         = 2
	ExitTimeout       = 124
	ExitNotExecutable = 126
	ExitNotFound      = 127
	ExitSignal        = 128
	ExitFailed        = 255
)

// Cause names how a command ended, for programs.
type Cause string

// The causes. They are part of the --status-file record and of --output json.
const (
	Exited        Cause = "exited"         // the exit code is the command's own
	Signal        Cause = "signal"         // a signal ended kshell
	Timeout       Cause = "timeout"        // --timeout expired
	Idle          Cause = "idle"           // --idle-timeout ended the session
	Detached      Cause = "detached"       // the user has left the command running in its session
	Usage         Cause = "usage"          // wrong arguments
	NotFound      Cause = "not-found"      // the container has no such command
	NotExecutable Cause = "not-executable" // the container could not run the command
	NotRunning    Cause = "not-running"    // the container is not running; see ClassifyPod
	Refused       Cause = "refused"        // the server refused the handshake
	Unreachable   Cause = "unreachable"    // no connection to the server, or no answer from the node
	Lost          Cause = "lost"           // the connection ended before a result was reported
	Output        Cause = "output"         // the local output could not be written
	Input         Cause = "input"          // the local input could not be read
	Failed        Cause = "failed"         // anything else
)

// Outcome is how a command ended.
type Outcome struct {
	ExitCode int
	Cause    Cause
	Silent   bool // print no message: the exit code is sufficient, or messages were printed before
	// Signal is the signal that ended kshell, or 0. The process must end itself
	// with this signal; a shell then shows ExitCode as $?.
	Signal syscall.Signal
}

// Classify returns the outcome of a command that ended with err; nil means
// success. ExitCodes describes the exit codes.
func Classify(err error) Outcome {
	var exit *stream.ExitError
	var remote *stream.RemoteError
	var signal cleanup.SignalError
	var timeout TimeoutError
	var idle IdleError
	var output *stream.OutputError
	var input *stream.InputError
	var fanout *FanoutError
	var reported *ReportedError
	var usage *UsageError
	var target *pod.TargetError
	var config *kubeconfig.Error
	var choice interface{ Usage() bool } // the Refusal of internal/headlamp
	var refused *stream.HandshakeError
	var dial *stream.DialError
	var start *stream.StartError
	var lost *stream.LostError
	isOutput := errors.As(err, &output)
	switch {
	case err == nil:
		return Outcome{ExitCode: 0, Cause: Exited, Silent: true}
	case errors.Is(err, ErrDetached):
		return Outcome{ExitCode: 0, Cause: Detached, Silent: true}
	case errors.As(err, &exit):
		return Outcome{ExitCode: processCode(exit.Code), Cause: Exited, Silent: true}
	case errors.As(err, &remote) && remote.Start == stream.StartNotFound:
		return Outcome{ExitCode: ExitNotFound, Cause: NotFound}
	case errors.As(err, &remote) && remote.Start == stream.StartNotExecutable:
		return Outcome{ExitCode: ExitNotExecutable, Cause: NotExecutable}
	case errors.As(err, &signal):
		return Outcome{
			ExitCode: ExitSignal + int(signal.Signal), Cause: Signal, Silent: true, Signal: signal.Signal,
		}
	case errors.As(err, &timeout):
		return Outcome{ExitCode: ExitTimeout, Cause: Timeout}
	case errors.As(err, &idle):
		return Outcome{ExitCode: ExitFailed, Cause: Idle}
	case isOutput && errors.Is(err, syscall.EPIPE): // the reader has enough: kshell … | head -1
		return Outcome{ExitCode: ExitSignal + int(syscall.SIGPIPE), Cause: Output, Silent: true}
	case errors.As(err, &reported):
		return Outcome{ExitCode: reported.ExitCode, Cause: Failed, Silent: true}
	case errors.As(err, &fanout):
		return Outcome{ExitCode: fanout.ExitCode, Cause: Failed, Silent: true}
	case errors.As(err, &usage), errors.As(err, &target), errors.As(err, &config) && config.Kind == kubeconfig.Usage,
		errors.As(err, &choice) && choice.Usage():
		return Outcome{ExitCode: ExitUsage, Cause: Usage}
	case errors.As(err, &refused):
		return Outcome{ExitCode: ExitFailed, Cause: Refused}
	case errors.As(err, &dial), errors.As(err, &start):
		return Outcome{ExitCode: ExitFailed, Cause: Unreachable}
	case errors.As(err, &lost):
		return Outcome{ExitCode: ExitFailed, Cause: Lost}
	case isOutput:
		return Outcome{ExitCode: ExitFailed, Cause: Output}
	case errors.As(err, &input):
		return Outcome{ExitCode: ExitFailed, Cause: Input}
	default:
		return Outcome{ExitCode: ExitFailed, Cause: Failed}
	}
}

// ClassifyPod is Classify for one of several pods. In addition, it returns the
// cause NotRunning for a pod.NotRunningError.
func ClassifyPod(err error) Outcome {
	o := Classify(err)
	var notRunning *pod.NotRunningError
	if errors.As(err, &notRunning) {
		o.Cause = NotRunning
	}
	return o
}

// processCode returns code, or ExitFailed if the lowest byte of code is 0: a
// large code, as on Windows, must not become 0 on systems that keep only the
// lowest byte.
func processCode(code int) int {
	if code&0xff == 0 {
		return ExitFailed
	}
	return code
}
