// Command cluster starts a real two-node Kubernetes on this machine, and stops
// it: `go run ./cluster up|down|status`, as root, in the directory test/e2e.
// See package harness.
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

	"kshell/test/e2e/harness"
)

const usage = `usage: cluster [--state DIR] up|down|status

  up      install missing packages, build, and start; keep a running cluster
  down    stop everything, and keep only binaries and logs
  status  list the processes

DIR defaults to $KSHELL_E2E_STATE, or else kshell-e2e in the user's cache directory.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	var misuse misuseError
	switch {
	case errors.As(err, &misuse):
		fmt.Fprint(os.Stderr, misuse.Error(), "\n\n", usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		var hinter interface{ Hint() string }
		if errors.As(err, &hinter) {
			fmt.Fprintln(os.Stderr, "hint:", hinter.Hint())
		}
		os.Exit(1)
	}
}

// misuseError is an invalid command line.
type misuseError struct{ text string }

func (e misuseError) Error() string { return "cluster: " + e.text }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	state := flags.String("state", "", "state directory")
	if err := flags.Parse(args); err != nil {
		return misuseError{err.Error()}
	}
	action := flags.Arg(0)
	// Flags may follow the action.
	if flags.NArg() > 1 {
		if err := flags.Parse(flags.Args()[1:]); err != nil {
			return misuseError{err.Error()}
		}
		if flags.NArg() > 0 {
			return misuseError{"too many arguments"}
		}
	}
	c, err := harness.Open(*state)
	if err != nil {
		return err
	}
	c.Log = func(line string) { fmt.Fprintln(stderr, "cluster:", line) }
	switch action {
	case "up":
		return up(ctx, c, stdout, stderr)
	case "down":
		return c.Down(ctx)
	case "status":
		return status(ctx, c, stdout)
	}
	return misuseError{fmt.Sprintf("unknown action %q", action)}
}

func up(ctx context.Context, c *harness.Cluster, stdout, stderr io.Writer) error {
	began := time.Now()
	if err := c.Up(ctx); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "cluster: up in %s; users: %v; kubectl: %s\n", time.Since(began).Round(100*time.Millisecond),
		harness.Users(), c.Kubectl())
	fmt.Fprintf(stderr, "cluster: the API server that translates v5 itself: %s\n", c.KubeconfigTranslating())
	export(c, stdout)
	return nil
}

func export(c *harness.Cluster, stdout io.Writer) {
	fmt.Fprintf(stdout, "export KUBECONFIG=%s\n", c.Kubeconfig())
}

func status(ctx context.Context, c *harness.Cluster, stdout io.Writer) error {
	running := false
	for _, component := range c.Components() {
		if component.Running {
			running = true
			fmt.Fprintf(stdout, "%-24s %s %7d  %s\n", component.Name, component.State, component.Pid, component.Log)
		} else {
			fmt.Fprintf(stdout, "%-24s - not running\n", component.Name)
		}
	}
	if !running {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	lines, err := c.Summary(ctx)
	if err != nil {
		return fmt.Errorf("the API server does not answer: %w", err)
	}
	for _, line := range lines {
		fmt.Fprintln(stdout, line)
	}
	export(c, stdout)
	return nil
}
