// Command demo lets somebody try kshell without a cluster: it starts the sandbox in a temporary directory, opens a local
// shell whose first act is `kshell exec -it deploy/web`, and removes every trace when that shell ends.
//
// It knows of kshell only the path of its binary. Whatever way it ends (exit, Ctrl-D, INT, TERM, HUP), the sandbox's
// processes end and the directory goes first.
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

// run returns the exit code: 0 however the shell ended, 1 if the demo could not start, 2 for wrong usage, 128+n after
// signal n.
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

// signalled is the end by a signal.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return s.String() }

func (s signalled) exitCode() int {
	if n, ok := s.Signal.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 1
}

// demo holds everything that has to be undone.
func demo(ctx context.Context, kshell string, stdin, stdout *os.File) (err error) {
	if !term.IsTerminal(int(stdin.Fd())) {
		return errors.New("stdin is not a terminal, and the demo is there to be typed at")
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
		return fmt.Errorf("no kshell to show: %w", err)
	} else if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("no kshell to show: %s cannot be run", path)
	}
	if err := os.Mkdir(bin, 0o700); err != nil {
		return err
	}
	return os.Symlink(path, filepath.Join(bin, "kshell"))
}
