// Command demo lets a user try kshell without a cluster. It starts a sandbox in
// a temporary directory, and a local shell that first runs `kshell exec -it
// deploy/web`. When the shell ends, demo removes everything.
//
// With --tour, it shows kshell in a few steps: it types the commands itself, and
// the user presses Enter. With --auto, the tour needs no keys.
//
// The demo needs only the path of the kshell binary. Whether the user types
// exit or Ctrl-D, the terminal is closed, or the demo gets SIGINT, SIGTERM,
// SIGHUP or SIGQUIT, it ends the processes of the sandbox and removes the
// directory before it exits.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// options are the flags of the program.
type options struct {
	kshell string // the path of the kshell binary
	tour   bool
	auto   bool          // the tour does not wait for keys
	pause  time.Duration // with auto: the time to read a text
}

const usage = `usage: demo --kshell PATH                                  a local shell with kshell and a sandbox
       demo --kshell PATH --tour [--auto [--pause TIME]]  a tour of kshell
`

// parse returns the options. It prints the errors of flags to stderr.
func parse(args []string, stderr io.Writer) (options, bool) {
	var o options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {}
	flags.StringVar(&o.kshell, "kshell", "", "")
	flags.BoolVar(&o.tour, "tour", false, "")
	flags.BoolVar(&o.auto, "auto", false, "")
	flags.DurationVar(&o.pause, "pause", 0, "")
	err := flags.Parse(args)
	ok := err == nil && o.kshell != "" && flags.NArg() == 0 && o.pause >= 0 &&
		(o.tour || !o.auto) && (o.auto || o.pause == 0)
	return o, ok
}

// run returns the exit code: 0 if the shell ended, with any exit code, or if the tour
// ended or the user left it; 1 if the demo could not start, or the tour failed; 2 for
// wrong usage; 128+n after signal n.
func run(args []string, stdin, stdout *os.File, stderr io.Writer) int {
	o, ok := parse(args, stderr)
	if !ok {
		fmt.Fprint(stderr, usage)
		return 2
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case sig := <-signals:
			cancel(signalled{sig})
		case <-ctx.Done():
		}
	}()
	err := runIn(ctx, o, stdin, stdout)
	var sig signalled
	switch {
	case errors.As(context.Cause(ctx), &sig):
		return sig.exitCode()
	case err != nil && !errors.Is(err, errLeft):
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return 1
	}
	return 0
}

// signalled is the cause of a context that a signal canceled.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return s.String() }

func (s signalled) exitCode() int {
	if n, ok := s.Signal.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 1
}

// errLeft means that the user has left the tour with Ctrl-C.
var errLeft = errors.New("the tour was left")

// runIn runs the demo or the tour, and cleans up after it.
func runIn(ctx context.Context, o options, stdin, stdout *os.File) (err error) {
	if !o.auto {
		for _, f := range []struct {
			name string
			*os.File
		}{{"stdin", stdin}, {"stdout", stdout}} {
			if !term.IsTerminal(int(f.Fd())) {
				return fmt.Errorf(
					"a terminal is needed, and %s is not one (make tour TOUR=--auto needs none)", f.name)
			}
		}
	}
	s, err := newStage(o.kshell)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if o.tour {
		return runTour(ctx, s, o, stdin, stdout)
	}
	sh, err := newShell(s, columns(stdout))
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, welcome(s, columns(stdout)))
	return sh.run(ctx, stdin)
}

// columns returns the width of the terminal, or 80 if it is not known.
func columns(f *os.File) int {
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		return width
	}
	return 80
}
