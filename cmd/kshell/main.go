// Command kshell opens shells and runs commands in the pods and nodes of a Kubernetes cluster.
//
// This package connects the internal packages and contains all texts for the user:
// flags in, exit code out. It does not know frames, ioctls or YAML.
//
// Invariants:
//   - Only main uses os.Std* and calls os.Exit.
//   - Only remote output (and the result of a command such as version) is written to
//     stdout; all messages go through internal/notice to stderr.
//   - Only outcome.Classify decides the exit code.
package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"k8s.io/klog/v2"

	"kshell/internal/cleanup"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/stream"
)

// gracePeriod is how long the program may take to exit after a signal. Tests
// change it.
var gracePeriod = cleanup.DefaultGracePeriod

func main() {
	os.Exit(kshell(streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// kshell runs the program and returns the exit code. It is not part of main so that
// its deferred calls run before the process exits.
func kshell(std streams) int {
	called, args := calledAs(os.Args)
	if len(args) > 0 && args[0] == remote.QuietPlugin {
		return remote.RunQuietPlugin(std.Out, args[1:])
	}
	if completing(args) {
		alone()
		mute()
	}
	registry := &cleanup.Registry{GracePeriod: gracePeriod}
	ctx, stop := registry.NotifyContext(context.Background(), func(err cleanup.SignalError) { os.Exit(outcome.Classify(err).ExitCode) })
	defer stop()
	defer registry.OnPanic()
	a := assemble(std, registry, called, args)
	// klog's logger is a global of the process: it is set before anything logs.
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(a.notice.DetailWriter(), nil)))
	return a.execute(ctx, args)
}

// mute discards what cobra and credential plugins (through client-go) write to stderr:
// they use the value of os.Stderr at their setup. It is called once, for a completion,
// before the program starts goroutines.
func mute() {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err == nil {
		os.Stderr = nowhere
	}
}

// streams are the local standard streams.
type streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// assemble returns the program under the name called. A completion writes nothing to
// stderr.
func assemble(std streams, registry *cleanup.Registry, called string, args []string) *app {
	if completing(args) {
		std.Err = io.Discard
	}
	return &app{
		streams: std, printed: &sticky{Writer: std.Out}, notice: notice.New(std.Err), cleanup: registry, called: called,
	}
}

// execute runs the command line, and returns the exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(leveled(args))
	err := root.ExecuteContext(ctx)
	a.cleanup.BlockIfPanicked()
	if err == nil {
		err = a.warned()
	}
	if a.printed.err != nil { // takes precedence over any other outcome
		err = &stream.OutputError{Err: a.printed.err}
	}
	printError(a.notice, err)
	return outcome.Classify(err).ExitCode
}

// printError prints an error, unless the exit code alone reports it.
func printError(n *notice.Printer, err error) {
	if !outcome.Classify(err).Silent {
		n.Error(err)
	}
}

// sticky is a writer that keeps its first error: cobra ignores errors when it prints
// help.
type sticky struct {
	io.Writer
	err error
}

// Write implements io.Writer.
func (s *sticky) Write(p []byte) (int, error) {
	n, err := s.Writer.Write(p)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}
