// Command kshell opens shells and runs commands in the pods and on the nodes of
// a Kubernetes cluster.
//
// This package parses the command line, turns it into a plan, and calls the
// internal packages. It handles no WebSocket frames, ioctls or YAML.
//
// Invariants:
//   - Only main.go uses os.Stdin, os.Stdout and os.Stderr, and calls os.Exit.
//   - Only remote output, and the result of a command such as version, is
//     written to stdout. All messages are written to stderr by internal/notice.
//   - Only outcome.Classify decides the exit code.
package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"

	"k8s.io/klog/v2"

	"kshell/internal/cleanup"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/stream"
	"kshell/internal/terminal"
)

// gracePeriod is how long kshell may take to exit after a signal. Tests change
// it.
var gracePeriod = cleanup.DefaultGracePeriod

func main() {
	exit(runProgram(streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// exit ends the process with an outcome. All cleanup must be done.
func exit(o outcome.Outcome) {
	if o.Signal != 0 {
		cleanup.Raise(o.Signal) // returns if the signal does not end the process
	}
	os.Exit(o.ExitCode)
}

// runProgram runs kshell with the arguments of the process, and returns the
// outcome. It is not part of main so that its deferred calls run before the
// process exits.
func runProgram(std streams) outcome.Outcome {
	name, args := parseArgv(os.Args)
	if len(args) > 0 && args[0] == remote.QuietPlugin {
		return outcome.Outcome{ExitCode: remote.RunQuietPlugin(std.Out, args[1:])}
	}
	if isCompletion(args) {
		detachTerminal()
		silenceStderr()
	}
	registry := &cleanup.Registry{GracePeriod: gracePeriod}
	a := newApp(std, registry, name, args)
	registry.ExitAfterPanic(func(trace string) {
		_, _ = io.WriteString(a.Err, cleanTrace(trace))
		os.Exit(outcome.ExitFailed)
	})
	forceExit := func(err cleanup.SignalError) { exit(outcome.Classify(err)) }
	ctx, stop := registry.NotifyContext(context.Background(), forceExit)
	defer stop()
	defer registry.OnPanic()
	// klog has one global logger, which must be set before anything logs.
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(a.notice.DetailWriter(), nil)))
	return a.execute(ctx, args)
}

// cleanTrace returns the trace of a panic without control characters: the value
// of the panic may contain text from the server.
func cleanTrace(trace string) string {
	var b strings.Builder
	for line := range strings.Lines(trace) {
		text := strings.TrimLeft(line, "\t")
		b.WriteString(line[:len(line)-len(text)] + notice.Clean(text) + "\n")
	}
	return b.String()
}

// silenceStderr discards what cobra and credential plugins write to stderr. It
// replaces os.Stderr, which cobra and client-go read only when they need it. It
// must be called before the program starts goroutines, because they may read
// os.Stderr.
func silenceStderr() {
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
	}
}

// streams are the local standard streams.
type streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// newApp returns the application. name is what the user types to call it:
// kshell, or kubectl kshell. args are the arguments of the process: if they
// request a completion, the application writes nothing to stderr.
func newApp(std streams, registry *cleanup.Registry, name string, args []string) *app {
	if isCompletion(args) {
		std.Err = io.Discard
	}
	messages := notice.New(std.Err)
	if notice.ASCIIOnly() {
		messages.SetASCII()
	}
	if terminal.IsTerminal(std.Err) && notice.UpdatesAllowed() {
		messages.SetTerminal(stderrTerminal{std.Err})
	}
	return &app{
		streams: std,
		printed: &errWriter{Writer: std.Out},
		notice:  messages,
		cleanup: registry,
		name:    name,
	}
}

// stderrTerminal is the terminal to which messages are written.
type stderrTerminal struct{ io.Writer }

// Columns implements notice.Terminal.
func (t stderrTerminal) Columns() int { return terminal.Columns(t.Writer) }

// execute runs the command line args, and returns the outcome.
func (a *app) execute(ctx context.Context, args []string) outcome.Outcome {
	root := newRoot(a)
	root.SetArgs(normalizeVerbosity(args))
	err := root.ExecuteContext(ctx)
	a.cleanup.BlockIfPanicked()
	if err == nil {
		err = a.warningsError()
	}
	if a.printed.err != nil { // takes precedence over any other error
		err = &stream.OutputError{Err: a.printed.err}
	}
	printError(a.notice, err)
	if interrupted := a.cleanup.Wait(); interrupted {
		err = context.Cause(ctx)
	}
	return outcome.Classify(err)
}

// printError prints err. It prints nothing if err is to be reported only by the
// exit code.
func printError(n *notice.Printer, err error) {
	if !outcome.Classify(err).Silent {
		n.Error(err)
	}
}

// errWriter is a writer that keeps its first error, because cobra ignores write
// errors.
type errWriter struct {
	io.Writer
	err error
}

// Write implements io.Writer.
func (w *errWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}
