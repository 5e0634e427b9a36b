package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/remote"
)

// scriptFlags are the flags for the use of kshell in scripts.
type scriptFlags struct {
	timeout    time.Duration
	statusFD   int
	statusFile string
	stdinFile  string
	noStdin    bool
}

// noFD is the default of --status-fd. It means that no status record is
// written.
const noFD = -1

func (f *scriptFlags) addTo(flags *pflag.FlagSet) {
	flags.DurationVar(&f.timeout, "timeout", 0, "end the command after this time, with exit code 124; 0s means no limit")
	flags.IntVar(&f.statusFD, "status-fd", noFD,
		"write the result of the command as one line of JSON to this file descriptor")
	flags.StringVar(&f.statusFile, "status-file", "", "write the result of the command as one line of JSON to this file")
	flags.StringVar(&f.stdinFile, "stdin-file", "", "pass this file to the command as stdin")
	flags.BoolVar(&f.noStdin, "no-stdin", false, "do not pass stdin to the command, even with -i")
}

// check returns a usage error for invalid flags.
func (f *scriptFlags) check(cmd *cobra.Command) error {
	switch {
	case f.noStdin && f.stdinFile != "":
		return usage(cmd, "--no-stdin and --stdin-file cannot be used together")
	case f.statusFD < noFD || f.statusFD >= 0 && f.statusFD < 3:
		return outcome.NewUsageError(
			fmt.Sprintf("--status-fd %d: descriptors 0, 1 and 2 are the command's stdin, stdout and stderr", f.statusFD),
			"--status-fd 3 3>FILE, or --status-file FILE",
		)
	case f.statusFD != noFD && f.statusFile != "":
		return usage(cmd, "--status-fd and --status-file cannot be used together")
	}
	return notNegative(cmd, "timeout", f.timeout)
}

// notNegative returns a usage error if d, the value of a flag, is negative.
func notNegative(cmd *cobra.Command, flag string, d time.Duration) error {
	if d < 0 {
		return usage(cmd, fmt.Sprintf("--%s must not be negative, got %v", flag, d))
	}
	return nil
}

// limited returns ctx with the time limit of --timeout. When the limit is
// reached, the cause of the cancellation is an outcome.TimeoutError.
func (f *scriptFlags) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, f.timeout, outcome.TimeoutError{After: f.timeout})
}

// openStatus opens the file or descriptor for the status record, or returns nil
// if no record is written. It must be called before the command runs, so that
// kshell does not run a command whose record it cannot write.
func (f *scriptFlags) openStatus() (io.WriteCloser, error) {
	if f.statusFile != "" {
		return os.Create(f.statusFile) //nolint:gosec // the user named the file
	}
	if f.statusFD == noFD {
		return nil, nil
	}
	file := os.NewFile(uintptr(f.statusFD), "status")
	if file == nil {
		return nil, fmt.Errorf("--status-fd: descriptor %d does not exist", f.statusFD)
	}
	if _, err := file.Stat(); err != nil {
		return nil, notice.WithHint(
			fmt.Errorf("--status-fd: descriptor %d is not open", f.statusFD),
			fmt.Sprintf("add %d>FILE to the command line", f.statusFD),
		)
	}
	return file, nil
}

// printExitCode prints, with -v, the exit code of the plan's command or shell,
// which has ended with err. It prints nothing if the exit code is not known.
func (a *app) printExitCode(p *execPlan, err error) {
	what := "command"
	if len(p.command) == 0 {
		what = "shell"
	}
	if o := outcome.Classify(err); o.Cause == outcome.Exited {
		a.notice.Detail("the %s ended with exit code %d", what, o.ExitCode)
	}
}

// statusOf returns the status record of a command that ended with err. c is nil
// if kshell failed before it had a command.
func statusOf(c *remote.Command, start time.Time, err error) outcome.Status {
	if c == nil {
		return outcome.NewStatus(start, err)
	}
	return c.Report().Status(start, err)
}
