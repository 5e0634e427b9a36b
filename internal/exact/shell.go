package exact

import (
	"io"
	"strconv"
	"strings"
	"sync"

	"kshell/internal/script"
)

// Shell is a command on a terminal: it has one output, and no end of its own but the server's word. A script starts it with variables and in a
// directory of our choice, and says which process it is.
type Shell struct {
	env    []string
	dir    string
	mark   string
	filter filter

	mu           sync.Mutex
	state        State
	processGroup string
}

// IfLocaleExists before a variable in NewShell's env has it set only where the container has the locale that it names.
const IfLocaleExists = "?"

// NewShell prepares a command with env (NAME=VALUE, see Options.Env; see IfLocaleExists) and in dir (empty: the container's).
func NewShell(env []string, dir string) *Shell {
	s := &Shell{env: env, dir: dir, mark: newMark()}
	s.filter = filter{mark: []byte(markStart + s.mark), report: s.report, ping: func() {}, started: true}
	return s
}

// Command is what has to be run on the far side, with a tty, so that args is; without args the best shell there: bash, sh or ash.
func (s *Shell) Command(args []string) []string {
	return scriptCommand(commonScript+terminalScript, s.mark, nil, s.dir, s.env, args)
}

// Output gives what takes the far side's output and passes it on to w.
func (s *Shell) Output(w io.Writer) io.Writer {
	s.filter.to = w
	return s
}

// Write takes the far side's output: it implements io.Writer. What comes before the script has said something is output, too.
func (s *Shell) Write(p []byte) (int, error) {
	if s.passThrough() {
		return s.filter.to.Write(p)
	}
	return s.filter.Write(p)
}

func (s *Shell) passThrough() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == Running && s.filter.matched == 0
}

// Reset prepares for a new connection, which starts a new shell.
func (s *Shell) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.processGroup = Unknown, ""
	s.filter.matched, s.filter.inMessage, s.filter.message = 0, false, nil
}

// State returns Unknown, NoDirectory, NoCommand, NotStarted or Running. Running does not
// change until Reset.
func (s *Shell) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// HangUpCommand returns what has to be run in the same container to end the shell and its
// processes, as if its terminal had hung up: HUP, then TERM, then KILL; nil if the
// shell was not started. The servers on the way to the container do not do it.
func (s *Shell) HangUpCommand() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := strconv.ParseUint(s.processGroup, 10, 31); err != nil {
		return nil
	}
	return []string{"sh", "-c", script.Shrink(hangUpScript), "kshell", s.processGroup}
}

// AliveCommand is what has to be run in the same container to learn whether the shell still runs: it then succeeds. Nil: nobody knows its number.
func (s *Shell) AliveCommand() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := strconv.ParseUint(s.processGroup, 10, 31); err != nil {
		return nil
	}
	return []string{"sh", "-c", "[ -d /proc/" + s.processGroup + " ]"}
}

// report takes a message of the script.
func (s *Shell) report(words string) (last bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	words = strings.TrimSuffix(words, "\r") // the terminal's
	if s.state == Running {
		return false, nil
	}
	if group, ok := strings.CutPrefix(words, messageRunning); ok {
		s.state, s.processGroup = Running, group
	}
	switch strings.TrimPrefix(words, messageEnded) {
	case outcomeMissing:
		s.state = NoCommand
	case outcomeNowhere:
		s.state = NoDirectory
	case outcomeFailed:
		s.state = NotStarted
	}
	return false, nil
}
