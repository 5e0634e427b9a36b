package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/coder/websocket"

	"kshell/internal/apiclient"
)

// DialError means that the server could not be reached, or is not trusted.
// Nothing has run.
type DialError struct {
	Server string // the URL of the server, without user info
	Err    error
}

func (e *DialError) Error() string {
	return fmt.Sprintf("cannot connect to %s: %s", e.Server, plain(e.Err))
}
func (e *DialError) Unwrap() error { return e.Err }

// Permanent reports whether the server is not trusted: another attempt would
// fail in the same way.
func (e *DialError) Permanent() bool {
	var untrusted *tls.CertificateVerificationError
	return errors.As(e.Err, &untrusted)
}

// ProtocolError means that the server accepted the handshake, but selected none
// of the subprotocols offered. The command may have been started. The
// connection is not used: the framing without a subprotocol has no exit status.
type ProtocolError struct {
	Selected string // empty if the server selected none
	Offered  []string
}

func (e *ProtocolError) Error() string {
	if e.Selected == "" {
		return "the server selected no subprotocol: a proxy may have removed the offer"
	}
	return fmt.Sprintf("the server selected the subprotocol %q, which was not offered", e.Selected)
}

// Permanent returns true: the server would make the same selection again.
func (e *ProtocolError) Permanent() bool { return true }

// ExitError means that the remote command ended with an exit code other than 0.
type ExitError struct {
	Code int // 1 to 255 on Linux; may be larger on Windows
}

func (e *ExitError) Error() string { return fmt.Sprintf("command exited with code %d", e.Code) }

// RemoteError means that the server reported a failure that is not an exit
// code, most often that the command could not be started.
type RemoteError struct {
	Message string // the server's message, unfiltered: it may contain control characters
	Reason  string // metav1.StatusReason; empty if the subprotocol has none
	Start   StartFailure
}

func (e *RemoteError) Error() string {
	switch e.Start {
	case StartNotFound:
		return "the container has no such command: " + e.Message
	case StartNotExecutable:
		return "the container could not run the command: " + e.Message
	default:
		return "the server reported a failure: " + e.Message
	}
}

// NotRunning reports whether the container does not exist on its node or is not
// running. The container may be about to restart.
func (e *RemoteError) NotRunning() bool {
	return e.Start == StartOther && (taskNotFound.MatchString(e.Message) ||
		slices.ContainsFunc(notRunningTexts, func(text string) bool { return strings.Contains(e.Message, text) }))
}

// notRunningTexts are the texts of kubelets and container runtimes for a
// container that is not running.
var notRunningTexts = []string{
	"container not found", "is not running", "CONTAINER_EXITED", "is not created or running",
}

// taskNotFound matches containerd's message for a container that ended while a
// command was being started in it.
var taskNotFound = regexp.MustCompile(`\btask [0-9a-f]{8,} not found\b`)

// Cause returns the last part of a container runtime's long message, such as
// `exec: "x": executable file not found in $PATH`.
func (e *RemoteError) Cause() string {
	cause := e.Message
	for _, prefix := range []string{"unable to start container process: ", "OCI runtime exec failed: "} {
		if i := strings.LastIndex(cause, prefix); i >= 0 {
			cause = cause[i+len(prefix):]
			break
		}
	}
	return strings.TrimSuffix(strings.TrimSpace(cause), ": unknown")
}

// StartFailure is the reason why a command could not be started. It is derived
// from the text of the message, because container runtimes report no code for
// it.
type StartFailure int

// The reasons for a command that could not be started.
const (
	StartOther         StartFailure = iota // another failure, or an unknown message
	StartNotFound                          // no such file in $PATH or at the path
	StartNotExecutable                     // the file is not executable
)

// startFailures are the texts of runc and crun for a command that could not be
// started, the most specific first.
var startFailures = []struct {
	text    string
	failure StartFailure
}{
	{"executable file not found in $PATH", StartNotFound},
	{"executable file `", StartNotFound}, // crun: executable file `x` not found in $PATH
	{"no such file or directory", StartNotFound},
	{"The system cannot find the file specified", StartNotFound}, // Windows
	{"The system cannot find the path specified", StartNotFound}, // Windows, for a name such as /bin/sh
	{"permission denied", StartNotExecutable},
	{"exec format error", StartNotExecutable},
	{"is a directory", StartNotExecutable},
	{"unable to start container process: exec: ", StartNotExecutable}, // runc, other errors of execve, such as ELOOP
}

func startFailure(message string) StartFailure {
	for _, f := range startFailures {
		if strings.Contains(message, f.text) {
			return f.failure
		}
	}
	return StartOther
}

// plain returns a short message for err. It omits addresses and paths, because
// the message around it contains them.
func plain(err error) string {
	var op *net.OpError
	var closed websocket.CloseError
	var late *lateError
	var failed *apiclient.ConnectError
	switch {
	case errors.As(err, &late):
		return late.text.Error()
	case errors.As(err, &failed) && failed.AtProxy():
		return failed.Error()
	case errors.As(err, &closed):
		return fmt.Sprintf("closed by the server (%s)", strings.TrimSpace(fmt.Sprint(int(closed.Code), " ", closed.Reason)))
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was cut"
	case errors.Is(err, context.DeadlineExceeded):
		return "timed out"
	case errors.As(err, &op):
		return innermost(op).Error()
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	return err.Error()
}

func innermost(err error) error {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err
}
