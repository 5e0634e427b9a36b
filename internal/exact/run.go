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

// Options are what a command is run with.
type Options struct {
	// Stdin is the command's input; nil for an empty one. It is read from the moment that the command runs.
	Stdin io.Reader
	// CancelStdin makes a blocked Read of Stdin return, and says whether it does. Nil: it does not.
	CancelStdin func() bool
	// Stdout and Stderr take what the command writes; nil discards.
	Stdout, Stderr io.Writer
	// Env are variables for the command, as NAME=VALUE, beside those of the container. A NAME is a letter or _, then letters, digits and _.
	Env []string
	// Dir is the command's working directory; empty for the container's.
	Dir string
	// Keep lets the command run on when the client goes away. Without it the command's process group is sent TERM and, when the command
	// has ended or after 5 seconds, KILL.
	Keep bool
	// Whole does not let the command see the end of an input that was cut off, not even with Keep: it is ended.
	Whole bool
}

// State is how far a command has come.
type State int

const (
	// Unknown means that the script has said nothing. Nothing of the command has run as far as we know.
	Unknown State = iota
	// Unable means that the script cannot take counted input there (neither dd nor head will do). The command was not started.
	Unable
	// Nowhere means that Options.Dir is no directory, or may not be entered. The command was not started.
	Nowhere
	// Missing means that there is no such command, or it is not executable. It was not started.
	Missing
	// Unstarted means that the script could not start its processes, as in a container at its limit of processes, or not with a variable of
	// Options.Env. The command was not started.
	Unstarted
	// Running means that the command was started, and has not been heard to end.
	Running
	// Failed means that the script lost a process that it needs, or could not start one, while the command ran. The command is ended without
	// having seen an end of its input, and its exit code is not known.
	Failed
	// Ended means that both streams are whole, and the code is the command's.
	Ended
)

// errGarbled says that the far side wrote a mark and then no words.
var errGarbled = errors.New("the script said something that it does not know")

// ErrEnded is what the writers return when both streams are whole: nothing more will come, and the session can be closed.
var ErrEnded = errors.New("the command has ended")

// Run is one command. Command gives the arguments for the far side; Stdout, Stderr and Stdin are its streams, each used by one goroutine
// at a time.
type Run struct {
	options Options
	mark    string
	out     filter
	err     filter
	in      input

	mu    sync.Mutex
	state State
	group string // of processes, over there
	code  int
	ends  []string // how the command ended, as told by the streams that have come to their end
}

// New prepares a run.
func New(o Options) *Run {
	r := &Run{options: o, mark: newMark()}
	r.out = filter{mark: []byte(lead + r.mark), to: o.Stdout, report: r.report, nudge: r.in.nudge, open: true}
	r.err = filter{mark: []byte(lead + r.mark), to: o.Stderr, report: r.report, nudge: r.in.nudge}
	r.in.init(o.Stdin)
	return r
}

// Command is what has to be run on the far side, with a stdin, a stdout and a stderr and without a tty, so that args is.
func (r *Run) Command(args []string) []string { return command(r.mark, r.options, args) }

// Stdout is what takes the far side's stdout. It returns ErrEnded, or an error of Options.Stdout.
func (r *Run) Stdout() io.Writer { return &r.out }

// Stderr is what takes the far side's stderr, as Stdout.
func (r *Run) Stderr() io.Writer { return &r.err }

// Stdin is what is to be sent to the far side. Its Read blocks while there is nothing to send, and does not end by itself: see Cancel.
func (r *Run) Stdin() io.Reader { return &r.in }

// Cancel ends Stdin, and waits until nobody reads Options.Stdin any more if that can be interrupted. It returns true: a Read of Stdin
// returns.
func (r *Run) Cancel() bool {
	r.in.cancel(r.options.CancelStdin)
	return true
}

// Reset is for a new connection: a new command, of which nothing has been heard yet. Options.Stdin must be nil then.
func (r *Run) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.group, r.ends = Unknown, "", nil
	r.out.reset()
	r.err.reset()
}

// State says how far the command has come, and its exit code if it has ended.
func (r *Run) State() (State, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, r.code
}

// pipe is what a pipe holds, in bytes: so much input reaches the script, and its end with it, whether the command reads or not.
const pipe = 64 << 10

// Leftover is for a session that has ended before the command did. The script ends the command when it sees the end of its stdin, but cannot
// see it behind input that the command does not read. If that may be so, Leftover is what has to be run in the same container to end
// the command; nil if not, or if the command is to be kept.
func (r *Run) Leftover() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent, whole := r.in.sent()
	keep := r.options.Keep && (whole || !r.options.Whole)
	if _, err := strconv.ParseUint(r.group, 10, 31); err != nil || r.state != Running || keep || sent <= pipe {
		return nil
	}
	return []string{"sh", "-c", "kill -TERM -" + r.group}
}

// Complaint is what the far side said on stderr before the script took over: a shell's own trouble. It is at most 1 KiB long and unfiltered.
func (r *Run) Complaint() string { return string(r.err.early) }

// The script's words.
const (
	wordRunning = "running " // and the script's process ID, which is that of the process group
	wordAlive   = "alive"    // the answer to a nudge
	wordEnded   = "ended "
	wordUnable  = "unable"
	wordMissing = "missing"
	wordNowhere = "nowhere"
	wordFailed  = "failed" // the part of the script that starts the command
	wordLost    = "lost"   // the part that hands it its input
)

// report takes the script's words from a stream, and says whether they are the last ones there.
func (r *Run) report(words string) (last bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	how, ended := strings.CutPrefix(words, wordEnded)
	group, running := strings.CutPrefix(words, wordRunning)
	switch {
	case running:
		r.state, r.group = Running, group
		r.in.begin()
	case ended:
		r.in.stop()
		r.ends = append(r.ends, how)
		if len(r.ends) == streams {
			r.end()
			return true, ErrEnded
		}
		return true, nil
	}
	return false, nil
}

// streams is how many have to come to their end: stdout and stderr.
const streams = 2

// end settles the state by what both streams told. They may differ where a part of the script failed while another told a code. A code, or the
// failure of the part that starts the command, without a word before that the command runs means that it was not started.
func (r *Run) end() {
	how := r.ends[0]
	code, err := strconv.Atoi(how)
	switch {
	case slices.Contains(r.ends, wordLost), how != r.ends[1]:
		r.state = Failed
	case r.state == Running && err == nil:
		r.state, r.code = Ended, code
	case r.state == Running && how == wordFailed:
		r.state = Failed
	case r.state == Running:
	case how == wordUnable:
		r.state = Unable
	case how == wordMissing:
		r.state = Missing
	case how == wordNowhere:
		r.state = Nowhere
	case how == wordFailed, err == nil:
		r.state = Unstarted
	}
}

// nudgeAfter is how long what looks like the beginning of a mark is held back before the far side is asked to write something behind it.
const nudgeAfter = 50 * time.Millisecond
