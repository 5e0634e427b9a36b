// Package fanout runs one command in many containers: several at a time, with
// the output of all of them on one stdout and stderr, and a table of results.
// It does not know flags or nodes.
//
// Invariants:
//   - A line of output is written whole, so lines of different containers do
//     not mix.
//   - Output is buffered only until its line ends. While the output of a
//     container cannot be written, kshell reads no more of it. The format
//     Folded is different: it keeps all output until all commands have ended,
//     in memory up to a limit and the rest in files.
//   - Every target has a row in the table of results, whether or not its
//     command ran.
package fanout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"kshell/internal/cleanup"
	"kshell/internal/group"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/stream"
)

// Target is one container in which the command runs.
type Target struct {
	Title   string // printed before lines and messages: unique, and safe to print (see notice.Clean)
	Node    string // for Format JSON; empty unless the command runs on nodes
	Command Command
}

// Command is the command in one container. One goroutine calls its methods.
// They print messages with n, which puts the target's title before each.
type Command interface {
	// Open waits for the container to run, or creates it. If Open fails, Run is
	// not called. The error of Open is printed without the target's title,
	// because this error already names the container.
	Open(ctx context.Context, n *notice.Printer) error
	// Container returns the names of the container, as far as they are known.
	// They do not change after Open.
	Container() Container
	// Run runs the command and writes its output to stdout and stderr.
	Run(ctx context.Context, n *notice.Printer, stdout, stderr io.Writer) error
	// Status returns the status record of the command, which started at start
	// and ended with err.
	Status(start time.Time, err error) outcome.Status
	// Close releases what Open acquired. It is called last, even if Open
	// failed.
	Close()
}

// Container names a container.
type Container struct{ Pod, Name string }

// Format is the form in which output is written.
type Format int

// The formats.
const (
	Text   Format = iota // lines, each after the title of its target
	Folded               // at the end, each distinct output once, after the titles of the targets that wrote it
	JSON                 // one object for each line of output, and one for the end of each command
)

// Options are the settings of Run.
type Options struct {
	Parallel int           // how many commands run at the same time, at least 1
	Timeout  time.Duration // for each command and its Open; 0 means no limit
	Format   Format

	Stdout, Stderr           io.Writer
	ColorStdout, ColorStderr bool // whether the titles of Format Text are colored
	// TerminalStdout and TerminalStderr report whether Stdout and Stderr are
	// terminals. If so, Format Text and Format Folded make control characters
	// visible.
	TerminalStdout, TerminalStderr bool

	Notice *notice.Printer // during Run, its messages go to Stderr
	Status io.Writer       // gets a line of JSON for each target; may be nil

	AuditID string // for the status records
}

// Run runs the commands of targets and returns when all of them have ended. It
// returns nil if all have succeeded, otherwise:
//   - a cleanup.SignalError if a signal has ended ctx
//   - a *stream.OutputError if stdout could not be written
//   - an *outcome.FanoutError if a command has failed; messages and the table
//     of results have then been printed
func Run(ctx context.Context, targets []Target, o Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &runner{Options: o, output: &output{
		stdout: o.Stdout, stderr: o.Stderr, cancel: cancel, toStdout: directly, toStderr: directly,
	}}
	if o.TerminalStdout {
		r.output.toStdout = o.Notice.WithoutProgress
	}
	if o.TerminalStderr { // messages go there, too
		r.output.toStderr = o.Notice.WithoutProgress
	} else {
		defer o.Notice.Redirect(r.output.Stderr())()
	}
	defer r.folds.close()

	var ended atomic.Int64
	state := func() string { return fmt.Sprintf("%d of %d commands have ended", ended.Load(), len(targets)) }
	progress := o.Notice.ProgressAfter(notice.ProgressDelay, state())
	defer progress.End()
	results := make([]result, len(targets))
	Each(len(targets), o.Parallel, func() { cancel(errPanicked) }, func(i int) {
		results[i] = r.run(ctx, i, targets[i])
		ended.Add(1)
		progress.Update(state())
	})
	progress.End()
	return r.conclude(ctx, results)
}

// directly is the value of output.toStdout or output.toStderr for a file or pipe. It
// only calls write.
func directly(write func()) { write() }

// Each calls f with each index below n, for up to parallel indexes at the same
// time, and returns when all calls have returned. If a call panics, Each calls
// stop, so that the other calls end soon, and then panics.
func Each(n, parallel int, stop func(), f func(i int)) {
	var next atomic.Int64
	workers := group.New(stop)
	for range min(parallel, n) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	workers.Wait()
}

// errPanicked ends the other commands when one of them panics.
var errPanicked = errors.New("a command panicked")

// runner is the state of one call of Run. The workers share it.
type runner struct {
	Options
	output *output
	folds  folds // empty unless the format is Folded

	statusMu sync.Mutex // held while a status record is written
}

// run runs the command of target i.
func (r *runner) run(ctx context.Context, i int, t Target) result {
	start := time.Now()
	limited, cancel := r.limit(ctx)
	defer cancel()
	defer t.Command.Close()
	titled := r.Notice.WithPrefix(t.Title)
	err := outcome.ContextCause(limited, context.Cause(limited))
	if err == nil {
		err = t.Command.Open(limited, titled)
	}
	opened := err == nil
	stdout, stderr, finish := r.writers(i, t)
	if opened {
		err = t.Command.Run(limited, titled, stdout, stderr)
	}
	res := newResult(t.Title, err)
	finish(opened, res, err)
	// The end of ctx is reported once, by the caller of Run.
	if ctx.Err() == nil && !res.Silent {
		n := r.Notice
		if opened {
			n = titled
		}
		n.Error(err)
	}
	s := t.Command.Status(start, err)
	s.Cause, s.AuditID = res.Cause, r.AuditID
	r.writeStatus(s)
	return res
}

// limit returns ctx with the time limit of one command.
func (r *runner) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.Timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, r.Timeout, outcome.TimeoutError{After: r.Timeout})
}

// writers returns the stdout and stderr of the command of target i. finish must
// be called when the command has ended. Its argument ran must be true if the
// command was run.
func (r *runner) writers(i int, t Target) (stdout, stderr io.Writer, finish func(ran bool, res result, err error)) {
	switch r.Format {
	case Folded:
		f := r.folds.newFold()
		return &f.stdout, &f.stderr, func(ran bool, res result, _ error) {
			if ran {
				r.folds.add(f, res)
			}
		}
	case JSON:
		w, c := r.output.Stdout(), t.Command.Container()
		stdout, stderr := newLineWriter(w, jsonLine(t.Node, c, "stdout")), newLineWriter(w, jsonLine(t.Node, c, "stderr"))
		return stdout, stderr, func(_ bool, res result, err error) {
			stdout.finish()
			stderr.finish()
			_, _ = w.Write(jsonEnd(t.Node, c, res, err)) // r.output.Err returns the error
		}
	default:
		onStdout, onStderr := prefixed(t.Title, i, r.ColorStdout), prefixed(t.Title, i, r.ColorStderr)
		if r.TerminalStdout {
			onStdout = visible(onStdout)
		}
		if r.TerminalStderr {
			onStderr = visible(onStderr)
		}
		stdout, stderr := newLineWriter(r.output.Stdout(), onStdout), newLineWriter(r.output.Stderr(), onStderr)
		return stdout, stderr, func(bool, result, error) {
			stdout.finish()
			stderr.finish()
		}
	}
}

// writeStatus writes a status record if Options.Status is set.
func (r *runner) writeStatus(s outcome.Status) {
	if r.Status == nil {
		return
	}
	r.statusMu.Lock()
	defer r.statusMu.Unlock()
	if err := s.Write(nopCloser{r.Status}); err != nil {
		r.Notice.WarnAlways("the status could not be written: %s", err)
	}
}

// nopCloser is a writer whose Close does nothing, so that more status records
// can be written.
type nopCloser struct{ io.Writer }

// Close implements io.Closer.
func (nopCloser) Close() error { return nil }

// conclude prints the folded output and the table, and returns the error of
// Run.
func (r *runner) conclude(ctx context.Context, results []result) error {
	var signal cleanup.SignalError
	if errors.As(context.Cause(ctx), &signal) {
		return signal
	}
	err := r.writeFolds(results)
	if err = cmp.Or(r.output.Err(), err); err != nil {
		return &stream.OutputError{Err: err}
	}
	sum := summarize(results)
	printRow := r.Notice.Detail
	if sum != nil {
		printRow = r.Notice.NoteAlways
	}
	for _, row := range table(results) {
		printRow("%s", row)
	}
	if sum == nil {
		return nil
	}
	return sum
}

// writeFolds writes the output of Format Folded.
func (r *runner) writeFolds(results []result) error {
	stdout, stderr := r.output.Stdout(), r.output.Stderr()
	if r.TerminalStdout {
		stdout = newLineWriter(stdout, visible(unchanged))
	}
	if r.TerminalStderr {
		stderr = newLineWriter(stderr, visible(unchanged))
	}
	return r.folds.writeTo(stdout, stderr, results)
}
