// Command demo lets a user try kshell without a cluster. It starts a sandbox in
// a temporary directory, and a local shell that first runs `kshell exec -it
// deploy/web`. When the shell ends, demo removes everything.
//
// The demo needs only the path of the kshell binary. Whether the user types
// exit or Ctrl-D, or the demo gets SIGINT, SIGTERM or SIGHUP, it ends the
// processes of the sandbox and removes the directory before it exits.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/term"

	"kshell/internal/sandbox"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run returns the exit code: 0 when the shell has ended, with whatever code; 1
// if the demo could not start; 2 for wrong usage; 128+n after signal n.
func run(args []string, stdin, stdout *os.File, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	kshell := flags.String("kshell", "", "`path` of the kshell binary (required)")
	if err := flags.Parse(args); err != nil || *kshell == "" || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "usage: demo --kshell PATH")
		return 2
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
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
	err := demo(ctx, *kshell, stdin, stdout)
	var sig signalled
	if errors.As(context.Cause(ctx), &sig) {
		return sig.exitCode()
	}
	if err != nil {
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

// demo runs the demo and cleans up after it.
func demo(ctx context.Context, kshell string, stdin, stdout *os.File) (err error) {
	if !term.IsTerminal(int(stdin.Fd())) {
		return errors.New("stdin is not a terminal")
	}
	dir, err := os.MkdirTemp("", "kshell-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := putOnPath(kshell, filepath.Join(dir, "bin")); err != nil {
		return err
	}
	s, err := sandbox.Start(sandbox.Config{Dir: filepath.Join(dir, "sandbox"), Gentle: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	sh, err := newShell(dir, s.Kubeconfig())
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, welcome)
	return sh.run(ctx, stdin)
}

// putOnPath makes kshell a command of the demo's shell.
func putOnPath(kshell, bin string) error {
	path, err := filepath.Abs(kshell)
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err != nil {
		return fmt.Errorf("cannot run kshell: %w", err)
	} else if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("cannot run kshell: %s is not executable", path)
	}
	if err := os.Mkdir(bin, 0o700); err != nil {
		return err
	}
	return os.Symlink(path, filepath.Join(bin, "kshell"))
}
