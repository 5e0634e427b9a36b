package main

import (
	"errors"
	"syscall"

	"github.com/spf13/cobra"

	"kshell/internal/cleanup"
	"kshell/internal/kubeconfig"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

// exitTable is the contract, shown by --help and in README.md; exitCode keeps it.
const exitTable = `  0      the command said that it succeeded
  1-254  the command's own exit code
  2      kshell was called wrongly (or the command said 2)
  124    --timeout has run out, and the command was told to end
  126    the container could not run the command
  127    the container has no such command
  128+n  signal n ended kshell (130: Ctrl-C, 143: TERM, 141: nobody reads the output)
  255    kshell failed, or the connection was lost and nobody knows how the command ended
`

const (
	exitUsage         = 2
	exitTimeout       = 124
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignal        = 128
	exitFailed        = 255
)

// exitCode is the only place that decides an exit code. Its table is exitTable:
//
//	0      the command said that it succeeded
//	1-254  the command's own exit code
//	2      kshell was called wrongly (or the command said 2)
//	124    --timeout has run out, and the command was told to end
//	126    the container could not run the command
//	127    the container has no such command
//	128+n  signal n ended kshell (130: Ctrl-C, 143: TERM, 141: nobody reads the output)
//	255    kshell failed, or the connection was lost and nobody knows how the command ended
func exitCode(err error) int {
	var exit *stream.ExitError
	var remote *stream.RemoteError
	var signal cleanup.SignalError
	var timeout timeoutError
	var wrong *usageError
	var target *pod.TargetError
	var config *kubeconfig.Error
	var several *manyError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return fitting(exit.Code)
	case errors.As(err, &remote) && remote.Start == stream.StartNotFound:
		return exitNotFound
	case errors.As(err, &remote) && remote.Start == stream.StartNotExecutable:
		return exitNotExecutable
	case errors.As(err, &signal):
		return exitSignal + int(signal.Signal)
	case errors.As(err, &timeout):
		return exitTimeout
	case brokenPipe(err):
		return exitSignal + int(syscall.SIGPIPE)
	case errors.As(err, &several):
		return several.code
	case errors.As(err, &wrong), errors.As(err, &target), errors.As(err, &config) && config.Kind == kubeconfig.Usage:
		return exitUsage
	default:
		return exitFailed
	}
}

// fitting keeps a large code (Windows) from becoming 0 where only its lowest byte counts.
func fitting(code int) int {
	if code&0xff == 0 {
		return exitFailed
	}
	return code
}

// brokenPipe says that the reader of our stdout is content: `kshell … | head -1`.
func brokenPipe(err error) bool {
	var out *stream.OutputError
	return errors.As(err, &out) && errors.Is(err, syscall.EPIPE)
}

// silent says whether the exit code says it all.
func silent(err error) bool {
	var exit *stream.ExitError
	var signal cleanup.SignalError
	var several *manyError
	return err == nil || errors.As(err, &exit) || errors.As(err, &signal) || errors.As(err, &several) || brokenPipe(err)
}

// usageError is a mistake in the command line.
type usageError struct{ words, hint string }

func (e *usageError) Error() string { return e.words }
func (e *usageError) Hint() string  { return e.hint }

// usage makes a usageError that points to the command's help.
func usage(cmd *cobra.Command, words string) error {
	return &usageError{words, cmd.CommandPath() + " --help"}
}
