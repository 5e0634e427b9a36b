package outcome

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/cleanup"
	"kshell/internal/headlamp"
	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

func targetError(t *testing.T) error {
	t.Helper()
	_, err := pod.ParseTarget("nothing/web")
	return err
}

func configError(t *testing.T, f kubeconfig.Flags, want kubeconfig.Kind) error {
	t.Helper()
	_, err := f.Load()
	var e *kubeconfig.Error
	if !errors.As(err, &e) || e.Kind != want {
		t.Fatalf("%v is not of kind %d", err, want)
	}
	return err
}

func TestClassify(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		want   int
		cause  Cause
		silent bool
	}{
		{"success", nil, 0, Exited, true},
		{"exit code", &stream.ExitError{Code: 1}, 1, Exited, true},
		{"largest exit code", &stream.ExitError{Code: 254}, 254, Exited, true},
		{"exit code 255 of the command", &stream.ExitError{Code: 255}, 255, Exited, true},
		{"exit code 2 of the command", &stream.ExitError{Code: 2}, 2, Exited, true},
		{"exit code with lowest byte 0", &stream.ExitError{Code: 256}, 255, Exited, true},
		{"Windows exit code with lowest byte 0", &stream.ExitError{Code: 0xC0000100}, 255, Exited, true},
		{"Windows exit code", &stream.ExitError{Code: 0xC000013A}, 0xC000013A, Exited, true},

		{"no such command", &stream.RemoteError{Start: stream.StartNotFound}, 127, NotFound, false},
		{"not executable", &stream.RemoteError{Start: stream.StartNotExecutable}, 126, NotExecutable, false},
		{"other failure that the server reports", &stream.RemoteError{Message: "x"}, 255, Failed, false},

		{"usage error", NewUsageError("x", "y"), 2, Usage, false},
		{"invalid target", targetError(t), 2, Usage, false},
		{"choice of a cluster", &headlamp.Refusal{Kind: headlamp.SeveralClusters}, 2, Usage, false},
		{"refused by Headlamp", &headlamp.Refusal{Kind: headlamp.UnknownCluster}, 255, Failed, false},
		{
			"invalid value of a kubeconfig flag", configError(t, kubeconfig.Flags{Timeout: "soon"}, kubeconfig.Usage),
			2, Usage, false,
		},

		{"timeout", TimeoutError{time.Second}, 124, Timeout, false},
		{"failed in several pods", &FanoutError{ExitCode: 130, Failed: 1, Pods: 3}, 130, Failed, true},
		{"detached", ErrDetached, 0, Detached, true},
		{"already reported", &ReportedError{1, errors.New("x")}, 1, Failed, true},
		{"session left", ErrLeft, 255, Failed, false},
		{"no key typed", IdleError{time.Minute}, 255, Idle, false},
		{"INT", cleanup.SignalError{Signal: syscall.SIGINT}, 130, Signal, true},
		{"TERM", cleanup.SignalError{Signal: syscall.SIGTERM}, 143, Signal, true},
		{"HUP", cleanup.SignalError{Signal: syscall.SIGHUP}, 129, Signal, true},
		{"QUIT", cleanup.SignalError{Signal: syscall.SIGQUIT}, 131, Signal, true},
		{
			"output closed by its reader", &stream.OutputError{Err: &os.PathError{Op: "write", Err: syscall.EPIPE}},
			141, Output, true,
		},

		{"disk of the output full", &stream.OutputError{Err: syscall.ENOSPC}, 255, Output, false},
		{"input cannot be read", &stream.InputError{Err: syscall.EISDIR}, 255, Input, false},
		{"connection lost", &stream.LostError{Err: errors.New("x")}, 255, Lost, false},
		{"connection lost with EPIPE", &stream.LostError{Err: syscall.EPIPE}, 255, Lost, false},
		{"refused by the server", &stream.HandshakeError{StatusCode: 403}, 255, Refused, false},
		{"no subprotocol selected", &stream.ProtocolError{}, 255, Failed, false},
		{"server not reachable", &stream.DialError{Err: syscall.ECONNREFUSED}, 255, Unreachable, false},
		{
			"no configuration",
			configError(t, kubeconfig.Flags{Kubeconfig: filepath.Join(t.TempDir(), "none")}, kubeconfig.FileNotFound),
			255, Failed, false,
		},
		{"container not running", &pod.NotRunningError{}, 255, Failed, false},
		{"other error", errors.New("x"), 255, Failed, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := Outcome{ExitCode: tt.want, Cause: tt.cause, Silent: tt.silent}
			if tt.cause == Signal {
				want.Signal = syscall.Signal(tt.want - ExitSignal)
			}
			if diff := cmp.Diff(want, Classify(tt.err)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if tt.err == nil {
				return
			}
			for _, wrapped := range []error{
				fmt.Errorf("x: %w", tt.err), notice.WithHint(tt.err, "y"), notice.WithMessage(tt.err, "z"), &GaveUpError{tt.err},
			} {
				if diff := cmp.Diff(want, Classify(wrapped)); diff != "" {
					t.Errorf("outcome when wrapped in a %T (-want +got):\n%s", wrapped, diff)
				}
			}
		})
	}
}

func TestClassifyPod(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want Outcome
	}{
		{"success", nil, Outcome{ExitCode: 0, Cause: Exited, Silent: true}},
		{"container not running", fmt.Errorf("x: %w", &pod.NotRunningError{}), Outcome{ExitCode: 255, Cause: NotRunning}},
		{"connection lost", &stream.LostError{}, Outcome{ExitCode: 255, Cause: Lost}},
	} {
		if diff := cmp.Diff(tt.want, ClassifyPod(tt.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestContextCause(t *testing.T) {
	signalled, cancel := context.WithCancelCause(t.Context())
	cancel(cleanup.SignalError{Signal: syscall.SIGTERM})
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("another reason"))
	timedOut, cancel := context.WithCancelCause(t.Context())
	cancel(TimeoutError{time.Second})
	idle, cancel := context.WithCancelCause(t.Context())
	cancel(IdleError{time.Minute})
	left, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("x: %w", ErrLeft))
	broken := &stream.LostError{Err: errors.New("closed")}
	tests := []struct {
		name string
		ctx  context.Context
		err  error
		want error
	}{
		{"signal", signalled, broken, cleanup.SignalError{Signal: syscall.SIGTERM}},
		{"success and signal", signalled, nil, nil},
		{"no cause", t.Context(), broken, broken},
		{"timeout", timedOut, broken, TimeoutError{time.Second}},
		{"session left", left, broken, ErrLeft},
		{"no key typed", idle, broken, IdleError{time.Minute}},
		{"other cause", cancelled, broken, broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ContextCause(tt.ctx, tt.err); !errors.Is(got, tt.want) {
				t.Errorf("error %v, want %v", got, tt.want)
			}
			if got := Classify(fmt.Errorf("x: %w", ContextCause(tt.ctx, broken))).ExitCode; tt.ctx == signalled && got != 143 {
				t.Errorf("exit code %d, want 143", got)
			}
		})
	}
}
