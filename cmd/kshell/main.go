// Command kshell opens shells and runs commands in the pods and nodes of a Kubernetes cluster.
//
// This package is the wiring and every word: flags in, exit code out. It does not know frames, ioctls or YAML.
//
// Invariants:
//   - main is the only one to name os.Std* and to call os.Exit.
//   - Nothing but remote bytes (and what a command such as version is asked for) goes to stdout; all else goes through
//     notice.go to stderr.
//   - exit.go alone decides the exit code.
package main

import (
	"context"
	"io"
	"os"

	"kshell/internal/stream"
)

func main() {
	os.Exit(kshell(streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// kshell is main without the exit, so that deferred calls run before the
// process ends. It returns the exit code.
func kshell(std streams) int {
	called, args := calledAs(os.Args)
	if len(args) > 0 && args[0] == quietPlugin {
		return runQuietly(std, args[1:])
	}
	if completing(args) {
		alone()
		mute()
	}
	var local lastResort
	ctx, stop := withSignals(context.Background(), &local, func(code int) {
		local.close()
		os.Exit(code)
	})
	defer stop()
	defer local.onPanic()
	return runAs(ctx, std, &local, called, args)
}

// mute has cobra, and credential plugins by way of client-go, write nowhere: they
// take os.Stderr when they are set up. It is called once, for a completion, while
// the program has one goroutine.
func mute() {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err == nil {
		os.Stderr = nowhere
	}
}

// streams are the local ends of everything.
type streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// runAs is the program, by the name that it was called: arguments in, exit code out.
func runAs(ctx context.Context, std streams, local *lastResort, called string, args []string) int {
	if completing(args) {
		std.Err = io.Discard
	}
	a := &app{streams: std, printed: &sticky{Writer: std.Out}, notice: newNotice(std.Err), lastResort: local, called: called}
	root := newRoot(a)
	root.SetArgs(leveled(args))
	err := root.ExecuteContext(ctx)
	local.yield()
	if err == nil {
		err = a.warned()
	}
	if a.printed.err != nil { // whatever else came of it
		err = &stream.OutputError{Err: a.printed.err}
	}
	a.notice.fail(err)
	return exitCode(err)
}

// sticky remembers that it could not write: what prints help does not tell.
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
