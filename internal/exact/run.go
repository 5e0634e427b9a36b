package exact

import (
	"cmp"
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
	// Stdin is the command's input; nil means empty. It is not read before the
	// command has started, so that another command can read it if this one cannot
	// be started. If Stdin is a Canceler, Run.Cancel calls Stdin.Cancel. If Stdin
	// is a Peeker, short input is sent while the command is being started.
	Stdin io.Reader
	// Stdout and Stderr receive the command's output; nil discards it.
	Stdout, Stderr io.Writer
	// Env lists variables for the command, as NAME=VALUE, in addition to those
	// of the container. A NAME is a letter or _, then letters, digits and _.
	Env []string
	// Dir is the command's working directory; empty means the container's.
	Dir string
	// KeepRunning lets the command continue when the client disconnects.
	// Otherwise the command's process group is sent TERM. The processes that
	// are left after about 5 seconds are sent KILL.
	KeepRunning bool
	// EndIfInputCut ends the command, even with KeepRunning, if the client
	// disconnects before all input was sent. Otherwise the command would treat
	// a part of its input as all of it.
	EndIfInputCut bool

	idleLimit time.Duration // replaces the constant idleLimit in tests; 0 means the constant
}

// Canceler is a reader whose Read can be canceled.
type Canceler interface {
	// Cancel makes the Read in progress and all later ones return. It returns
	// false if it cannot do so.
	Cancel() bool
}

// Peeker is a reader that can return input that a later Read returns again.
type Peeker interface {
	// Peek returns at most limit bytes that the next Reads will return, or
	// nothing if that would require waiting for input.
	Peek(limit int) []byte
}

// State is the progress or the outcome of a command.
type State int

const (
	// Unknown means that the script has reported nothing yet.
	Unknown State = iota
	// Unsupported means that the script does not support the container: its
	// shell is mksh, or it has neither a dd nor a head that can count input.
	// The command was not started.
	Unsupported
	// NoDirectory means that Options.Dir is not a directory, or that the script
	// is not allowed to enter it. The command was not started.
	NoDirectory
	// NoCommand means that the command does not exist or is not executable. It
	// was not started.
	NoCommand
	// NotStarted means that the script could not start one of its processes,
	// for example at the container's process limit, or could not set a variable
	// of Options.Env. The command was not started.
	NotStarted
	// Running means that the command was started, and the script has not
	// reported its end yet.
	Running
	// Failed means that the script lost or could not start one of its processes
	// while the command ran. The script ends the command, which does not see an
	// end of its input. The exit code is unknown.
	Failed
	// Ended means that both streams are complete, and the exit code is known.
	Ended
)

// errBadMessage means that the remote wrote a mark and then more than
// maxMessage bytes without a newline.
var errBadMessage = errors.New("unknown message from the script")

// ErrEnded is returned by Write of Run.Stdout or Run.Stderr when both streams
// are complete. The session can then be closed.
var ErrEnded = errors.New("the command has ended")

// Run is one run of a command. Command returns the arguments that start the
// remote; Stdout, Stderr and Stdin are the streams of the remote. Only one
// goroutine at a time may use a stream. The other methods may be called from
// any goroutine.
type Run struct {
	options Options
	mark    string

	outFilter filter // used by the goroutine that writes Stdout
	errFilter filter // used by the goroutine that writes Stderr
	stdin     input

	mu           sync.Mutex
	state        State
	processGroup string // the ID of the command's process group
	code         int
	outcomes     []string    // the reported outcome of each stream that has ended
	checks       *time.Timer // calls check until both streams have ended
}

// New prepares a run.
func New(o Options) *Run {
	r := &Run{options: o, mark: newMark()}
	mark := []byte(markStart + r.mark)
	r.outFilter = filter{mark: mark, to: o.Stdout, report: r.report, ping: r.stdin.ping, started: true}
	r.errFilter = filter{mark: mark, to: o.Stderr, report: r.report, ping: r.stdin.ping}
	r.stdin.init(o.Stdin)
	s := o.script()
	r.stdin.rest, r.stdin.early = s.message(cmp.Or(o.idleLimit, idleLimit)), s.earlyMessage
	r.checks = time.AfterFunc(checkInterval, r.check)
	r.checks.Stop()
	return r
}

// Command returns the command that, run in the container with stdin, stdout and
// stderr and without a tty, runs args.
func (r *Run) Command(args []string) []string {
	s := r.options.script()
	return slices.Concat([]string{"sh", "-c", s.eval, s.start}, r.options.scriptArgs(r.mark), args)
}

// CommandOverStdin returns a command that does the same as the result of
// Command, but is shorter: the script, and args if argsToo is true, are sent on
// stdin. CommandOverStdin must be called before Stdin is read. After it,
// Command must not be called.
func (r *Run) CommandOverStdin(args []string, argsToo bool) []string {
	s := r.options.script()
	text := s.start
	if argsToo {
		text, args = quoted(args)+text, nil
	}
	text += "#end"
	r.stdin.setScript([]byte(text))
	return slices.Concat([]string{"sh", "-c", s.read, strconv.Itoa(len(text))}, r.options.scriptArgs(r.mark), args)
}

// Stdout returns the writer for the remote's stdout. Its Write returns ErrEnded
// when both streams are complete, and the errors of Options.Stdout.
func (r *Run) Stdout() io.Writer { return &r.outFilter }

// Stderr returns the writer for the remote's stderr, like Stdout.
func (r *Run) Stderr() io.Writer { return &r.errFilter }

// Stdin returns the reader of what must be sent to the remote. Its Read blocks
// while there is nothing to send, and never returns io.EOF. It returns an error
// after Cancel, or if reading Options.Stdin fails.
func (r *Run) Stdin() io.Reader { return &r.stdin }

// Cancel makes a Read of Stdin return. If a Read of Options.Stdin can be
// canceled, Cancel also waits until Options.Stdin is no longer read. It always
// returns true, because a Read of Stdin can always be canceled.
func (r *Run) Cancel() bool {
	var interrupt func() bool
	if stdin, ok := r.options.Stdin.(Canceler); ok {
		interrupt = stdin.Cancel
	}
	r.checks.Stop()
	r.stdin.cancel(interrupt)
	return true
}

// Reset prepares for a new connection, which runs the command again.
// Options.Stdin must be nil.
func (r *Run) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.processGroup, r.outcomes = Unknown, "", nil
	r.checks.Stop()
	r.stdin.reset()
	r.outFilter.reset(true)
	r.errFilter.reset(false)
}

// checkInterval is the time between two requests to the script to check its
// processes. If the process that waits for the command is killed, the script
// notices it at the next check.
const checkInterval = 5 * time.Second

const (
	// idleLimit is how long the script waits for a client that sends nothing
	// after the end of the command. The script then ends: the connection is
	// probably lost, and the servers have not noticed it.
	idleLimit = 15 * time.Minute
	// idleInterval is the time between two empty lines that the client sends
	// after the end of one stream, until the other stream ends.
	idleInterval = 30 * time.Second
)

// check requests an empty line, and schedules the next one.
func (r *Run) check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != Running || !r.stdin.check() {
		return
	}
	if len(r.outcomes) > 0 {
		r.checks.Reset(idleInterval)
	} else {
		r.checks.Reset(checkInterval)
	}
}

// State returns the state of the command, and its exit code if the state is
// Ended. It is also Running if output of the command has arrived on stdout, but the
// script's report on stderr has not.
func (r *Run) State() (State, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == Unknown && r.outFilter.written.Load() {
		return Running, 0
	}
	return r.state, r.code
}

// pipeCapacity is the capacity of a pipe, in bytes. If the input is at most
// this long, the script reads all of it and then sees its end, even if the
// command reads nothing: all input fits into the pipe from the script to the
// command.
const pipeCapacity = 64 << 10

// TerminateCommand returns another command that, run in the same container
// after the session was lost, ends r's command. It returns nil if r's command
// is not running, must continue, or is ended by the script. The script ends the
// command when the script reaches the end of its own stdin. The script does not
// reach that end while the command leaves more than pipeCapacity bytes of input
// unread.
func (r *Run) TerminateCommand() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent, _ := r.stdin.sent()
	if !isProcessID(r.processGroup) || r.state != Running || r.keeps() || sent <= pipeCapacity {
		return nil
	}
	return []string{"sh", "-c", "kill -TERM -" + r.processGroup}
}

// CommandGone is the exit code of AliveCommand if the command is not running.
const CommandGone = 3

// AliveCommand returns another command that checks, in the same container,
// whether the first process of the script still exists. That process waits for
// r's command. The other command exits with CommandGone if the process does not
// exist, and with another code otherwise. AliveCommand returns nil if r's
// command was not started, or if its end was reported.
func (r *Run) AliveCommand() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !isProcessID(r.processGroup) || r.state != Running {
		return nil
	}
	exit := "exit " + strconv.Itoa(CommandGone)
	return []string{"sh", "-c", "[ ! -d /proc/$$ ] || [ -d /proc/" + r.processGroup + " ] || " + exit}
}

// endScript sends TERM to the process group $1. If the group still exists after
// 5 s, it sends KILL in the background, which also ends the script if it still
// waits for the end of its stdin.
const endScript = `PATH=$PATH:/usr/bin:/bin
kill -TERM "-$1" || exit 0
(for n in 1 2 3 4 5; do sleep 1; kill -0 "-$1" || exit 0; done; kill -KILL "-$1") </dev/null >/dev/null 2>&1 &`

// EndCommand returns another command that ends r's command and the script. It
// is run in the same container after the connection was lost, because the
// servers may not have noticed the loss. EndCommand returns nil if r's command
// is not running or must continue.
func (r *Run) EndCommand() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !isProcessID(r.processGroup) || r.state != Running || r.keeps() {
		return nil
	}
	return []string{"sh", "-c", endScript, "kshell", r.processGroup}
}

// keeps reports whether the command continues if the client disconnects now.
func (r *Run) keeps() bool {
	_, complete := r.stdin.sent()
	return r.options.KeepRunning && (complete || !r.options.EndIfInputCut)
}

// isProcessID reports whether s is a number that can be the ID of a process.
// This check is necessary because the remote has sent s, and s becomes part of
// a command.
func isProcessID(s string) bool {
	_, err := strconv.ParseUint(s, 10, 31)
	return err == nil
}

// ShellError returns what the remote wrote to stderr before the script started,
// which is an error of the shell itself. It is untrusted text of at most 1 KiB.
// It must not be called while Stderr is in use.
func (r *Run) ShellError() string { return string(r.errFilter.early) }

// The messages of the script.
const (
	messageReady   = "ready"    // the client may send the rest of the script; only if there is input
	messageRunning = "running " // followed by the ID of the command's process group
	messageAlive   = "alive"    // the answer to a `?` line
	messageEnded   = "ended "   // followed by an exit code or an outcome

	outcomeUnsupported = "unable"  // Unsupported
	outcomeNoCommand   = "missing" // NoCommand
	outcomeNoDirectory = "nowhere" // NoDirectory
	outcomeFailed      = "failed"  // Failed or NotStarted: the part of the script that starts the command failed
	outcomeLost        = "lost"    // Failed: the part of the script that delivers the command's input failed
)

// report processes a message of the script on one stream. last means that it is
// the last message of that stream.
func (r *Run) report(message string) (last bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	outcome, ended := strings.CutPrefix(message, messageEnded)
	group, running := strings.CutPrefix(message, messageRunning)
	switch {
	case message == messageReady:
		r.stdin.sendRest()
	case running:
		r.state, r.processGroup = Running, group
		r.stdin.start()
		r.checks.Reset(checkInterval)
	case ended:
		r.outcomes = append(r.outcomes, outcome)
		if len(r.outcomes) == streamCount {
			r.checks.Stop()
			r.stdin.stop(true)
			r.setFinalState()
			return true, ErrEnded
		}
		r.checks.Reset(idleInterval)
		r.stdin.stop(false)
		return true, nil
	}
	return false, nil
}

// streamCount is the number of streams that must end: stdout and stderr.
const streamCount = 2

// setFinalState sets the state from the outcomes of both streams. The two
// outcomes differ if one part of the script failed while another reported an
// exit code. If the script did not report messageRunning, an exit code or
// outcomeFailed means that the command was not started.
func (r *Run) setFinalState() {
	outcome := r.outcomes[0]
	code, err := strconv.Atoi(outcome)
	switch {
	case slices.Contains(r.outcomes, outcomeLost), outcome != r.outcomes[1]:
		r.state = Failed
	case r.state == Running && err == nil:
		r.state, r.code = Ended, code
	case r.state == Running && outcome == outcomeFailed:
		r.state = Failed
	case r.state == Running:
	case outcome == outcomeUnsupported:
		r.state = Unsupported
	case outcome == outcomeNoCommand:
		r.state = NoCommand
	case outcome == outcomeNoDirectory:
		r.state = NoDirectory
	case outcome == outcomeFailed, err == nil:
		r.state = NotStarted
	}
}
