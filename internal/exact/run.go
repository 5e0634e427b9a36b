package exact

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options configure a command.
type Options struct {
	// Stdin is the command's input; nil means empty. It is read from the time when
	// the command has started.
	Stdin io.Reader
	// CancelStdin makes a blocked Read of Stdin return, and reports whether it
	// succeeded. Nil means that a Read cannot be canceled.
	CancelStdin func() bool
	// Stdout and Stderr receive the command's output; nil discards it.
	Stdout, Stderr io.Writer
	// Env lists variables for the command, as NAME=VALUE, in addition to those of
	// the container. A NAME is a letter or _, then letters, digits and _.
	Env []string
	// Dir is the command's working directory; empty means the container's.
	Dir string
	// KeepRunning lets the command continue when the client disconnects. Otherwise the
	// command's process group is sent TERM, and KILL when the command has ended or
	// after 5 seconds.
	KeepRunning bool
	// EndIfInputCut ends the command, even with KeepRunning, if the client disconnects before all
	// input was sent: the command never takes a part of its input for the whole.
	EndIfInputCut bool
}

// State is the progress or the outcome of a command.
type State int

const (
	// Unknown means that the script has reported nothing yet. As far as is known,
	// the command was not started.
	Unknown State = iota
	// Unsupported means that the script does not support the container: its shell is
	// mksh, or it has no tool that can count input (neither dd nor head is
	// suitable). The command was not started.
	Unsupported
	// NoDirectory means that Options.Dir is not a directory, or may not be entered. The
	// command was not started.
	NoDirectory
	// NoCommand means that the command does not exist or is not executable. It was
	// not started.
	NoCommand
	// NotStarted means that the script could not start one of its processes, for
	// example in a container at its process limit, or could not set a variable of
	// Options.Env. The command was not started.
	NotStarted
	// Running means that the command was started, and its end was not reported.
	Running
	// Failed means that the script lost or could not start one of its processes
	// while the command ran. The command is ended without seeing an end of its
	// input, and its exit code is unknown.
	Failed
	// Ended means that both streams are complete, and the exit code is known.
	Ended
)

// errGarbled means that the remote wrote a mark that no message follows.
var errBadMessage = errors.New("unknown message from the script")

// ErrEnded is returned by the writers when both streams are complete: nothing
// follows, and the session can be closed.
var ErrEnded = errors.New("the command has ended")

// Run is one run of a command. Command returns the arguments for the remote;
// Stdout, Stderr and Stdin are its streams. Each stream is used by one goroutine at
// a time.
type Run struct {
	options   Options
	mark      string
	outFilter filter
	errFilter filter
	stdin     input

	mu           sync.Mutex
	state        State
	processGroup string // the remote process group
	code         int
	outcomes     []string // the outcomes reported so far, one for each stream that has ended
}

// New prepares a run.
func New(o Options) *Run {
	r := &Run{options: o, mark: newMark()}
	r.outFilter = filter{mark: []byte(markStart + r.mark), to: o.Stdout, report: r.report, ping: r.stdin.ping, started: true}
	r.errFilter = filter{mark: []byte(markStart + r.mark), to: o.Stderr, report: r.report, ping: r.stdin.ping}
	r.stdin.init(o.Stdin)
	return r
}

// Command returns what the remote has to run, with stdin, stdout and stderr and
// without a tty, to run args.
func (r *Run) Command(args []string) []string { return command(r.mark, r.options, args) }

// Stdout returns the writer for the remote's stdout. Write returns ErrEnded, or an
// error of Options.Stdout.
func (r *Run) Stdout() io.Writer { return &r.outFilter }

// Stderr returns the writer for the remote's stderr, like Stdout.
func (r *Run) Stderr() io.Writer { return &r.errFilter }

// Stdin returns what is to be sent to the remote. Its Read blocks while there is
// nothing to send, and never returns io.EOF: see Cancel.
func (r *Run) Stdin() io.Reader { return &r.stdin }

// Cancel makes a Read of Stdin return. If a Read of Options.Stdin can be canceled,
// it also waits until Options.Stdin is no longer read. It returns true.
func (r *Run) Cancel() bool {
	r.stdin.cancel(r.options.CancelStdin)
	return true
}

// Reset prepares for a new connection, which runs the command anew. Options.Stdin
// must be nil.
func (r *Run) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.processGroup, r.outcomes = Unknown, "", nil
	r.outFilter.reset()
	r.errFilter.reset()
}

// State returns the state of the command, and its exit code if the state is Ended.
func (r *Run) State() (State, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, r.code
}

// pipe is the capacity of a pipe, in bytes. Up to this size, the script receives
// the input and its end whether the command reads it or not.
const pipeCapacity = 64 << 10

// TerminateCommand returns what has to be run in the same container to end the command
// after a session that ended before the command; nil if nothing has to be run. The
// script ends the command when its own stdin ends, but it does not reach that end
// while the command leaves input unread.
func (r *Run) TerminateCommand() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent, whole := r.stdin.sent()
	keep := r.options.KeepRunning && (whole || !r.options.EndIfInputCut)
	if _, err := strconv.ParseUint(r.processGroup, 10, 31); err != nil || r.state != Running || keep || sent <= pipeCapacity {
		return nil
	}
	return []string{"sh", "-c", "kill -TERM -" + r.processGroup}
}

// ShellError returns what the remote wrote to stderr before the script started,
// which is an error of the shell itself. It is at most 1 KiB long and unfiltered.
func (r *Run) ShellError() string { return string(r.errFilter.early) }

// The messages of the script.
const (
	messageRunning = "running " // followed by the ID of the command's process group
	messageAlive   = "alive"    // the answer to a nudge
	messageEnded   = "ended "
	outcomeUnable  = "unable"
	outcomeMissing = "missing"
	outcomeNowhere = "nowhere"
	outcomeFailed  = "failed" // the part of the script that starts the command failed
	outcomeLost    = "lost"   // the part that delivers its input failed
)

// report takes a message that the script sent on one stream, and reports whether it
// is the last message of that stream.
func (r *Run) report(words string) (last bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	how, ended := strings.CutPrefix(words, messageEnded)
	group, running := strings.CutPrefix(words, messageRunning)
	switch {
	case running:
		r.state, r.processGroup = Running, group
		r.stdin.start()
	case ended:
		r.stdin.stop()
		r.outcomes = append(r.outcomes, how)
		if len(r.outcomes) == streamCount {
			r.setFinalState()
			return true, ErrEnded
		}
		return true, nil
	}
	return false, nil
}

// streams is the number of streams that have to end: stdout and stderr.
const streamCount = 2

// end sets the final state from the outcomes of both streams. They differ if one
// part of the script failed while another reported an exit code. If the script
// never reported wordRunning, an exit code or wordFailed means that the command was
// not started.
func (r *Run) setFinalState() {
	how := r.outcomes[0]
	code, err := strconv.Atoi(how)
	switch {
	case slices.Contains(r.outcomes, outcomeLost), how != r.outcomes[1]:
		r.state = Failed
	case r.state == Running && err == nil:
		r.state, r.code = Ended, code
	case r.state == Running && how == outcomeFailed:
		r.state = Failed
	case r.state == Running:
	case how == outcomeUnable:
		r.state = Unsupported
	case how == outcomeMissing:
		r.state = NoCommand
	case how == outcomeNowhere:
		r.state = NoDirectory
	case how == outcomeFailed, err == nil:
		r.state = NotStarted
	}
}

// nudgeAfter is how long output that may be the beginning of a mark is held back
// before the remote is asked to write something after it.
const pingAfter = 50 * time.Millisecond
