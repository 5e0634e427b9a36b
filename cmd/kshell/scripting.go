package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
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
			fmt.Sprintf("--status-fd %d: must be at least 3: 0, 1 and 2 are the command's stdin, stdout and stderr", f.statusFD),
			"--status-fd 3 3>FILE, or --status-file FILE",
		)
	case f.statusFD != noFD && f.statusFile != "":
		return usage(cmd, "--status-fd and --status-file cannot be used together")
	}
	return notNegative("timeout", f.timeout)
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
		file, err := os.Create(f.statusFile) //nolint:gosec // the user named the file
		if err != nil {
			return nil, fmt.Errorf("--status-file %s: %w", f.statusFile, withoutPath(err))
		}
		return file, nil
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

// withoutPath returns err without the path that package os adds.
func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// openInput returns the stdin of the plan's command: the file of --stdin-file,
// or kshell's stdin.
func (a *app) openInput(p *execPlan) (io.Reader, error) {
	name := p.script.stdinFile
	if name == "" {
		return a.In, nil
	}
	file, err := os.Open(name) //nolint:gosec // the user named the file
	if err != nil {
		return nil, fmt.Errorf("--stdin-file %s: %w", name, withoutPath(err))
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		_ = file.Close() // nothing was written
		return nil, fmt.Errorf("--stdin-file %s: %w", name, syscall.EISDIR)
	}
	return file, nil // the file stays open until the program ends
}

// printExitCode prints the exit code of the plan's command or shell, which has
// ended with err, if -v is given. It prints nothing if the exit code is not
// known.
func (a *app) printExitCode(p *execPlan, err error) {
	what := "command"
	if len(p.command) == 0 {
		what = "shell"
	}
	if o := outcome.Classify(err); o.Cause == outcome.Exited {
		a.notice.Detail("the %s ended with exit code %d", what, o.ExitCode)
	}
}

// statusRecord is the status record of one command. It is written once: when
// the command has ended, or when a forced exit or a panic ends kshell before
// that.
type statusRecord struct {
	file    io.WriteCloser // nil: no record is written
	notice  *notice.Printer
	auditID string
	start   time.Time
	command atomic.Pointer[remote.Command] // nil until there is a command
	once    sync.Once
	remove  func() // removes write from the functions of cleanup.Registry.BeforeExit
}

// newStatus opens the status record of a command, which starts now.
func (a *app) newStatus(f *scriptFlags) (*statusRecord, error) {
	file, err := f.openStatus()
	if err != nil {
		return nil, err
	}
	r := &statusRecord{file: file, notice: a.notice, auditID: a.auditID, start: time.Now()}
	r.remove = a.cleanup.BeforeExit(r.write)
	return r, nil
}

// ended writes the record of the command, which ended with err. A call of ended
// must not be deferred: after a panic, err would not be the result.
func (r *statusRecord) ended(err error) {
	r.write(err)
	r.remove()
}

func (r *statusRecord) write(err error) {
	r.once.Do(func() {
		status := outcome.NewStatus(r.start, err)
		if c := r.command.Load(); c != nil {
			status = c.Report().Status(r.start, err)
		}
		status.AuditID = r.auditID
		if err := status.Write(r.file); err != nil {
			r.notice.WarnAlways("the status could not be written: %s", err)
		}
	})
}
