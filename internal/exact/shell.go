package exact

import (
	"io"
	"slices"
	"strings"
	"sync"

	"kshell/internal/script"
)

// Shell is one run of a command, usually a shell, on a terminal. A terminal has
// a single output stream. A script sets variables and the working directory,
// and reports the process ID of the command. Unlike the script of a Run, this
// script does not report the end of the command: only the server does.
type Shell struct {
	env  []string
	dir  string
	mark string

	filter filter // used by the goroutine that calls Write

	mu        sync.Mutex
	state     State
	processID string
}

// IfKnown is a prefix of variables in NewShell's env whose values the container
// may not know. With this prefix, a variable of the locale is set only if the
// container has the locale or a locale archive. TERM is set to xterm-256color
// or xterm if the container has a terminfo entry for one of these and none for
// the value in env.
const IfKnown = "?"

// NewShell prepares a run with env (see Options.Env and IfKnown) in the working
// directory dir; empty means the container's.
func NewShell(env []string, dir string) *Shell {
	s := &Shell{env: env, dir: dir, mark: newMark()}
	s.filter = filter{mark: []byte(markStart + s.mark), report: s.report, ping: func() {}, started: true}
	return s
}

// Command returns the command that, run in the container with a tty, runs args.
// If args is empty, it runs the first of bash, sh and ash that exists.
func (s *Shell) Command(args []string) []string {
	command := []string{"sh", "-c", terminalScript, "kshell"}
	return slices.Concat(command, halves(s.mark), environmentArgs(s.dir, s.env), args)
}

// Output returns the writer for the terminal's output. The writer passes the
// output on to w, without the messages of the script.
func (s *Shell) Output(w io.Writer) io.Writer {
	s.filter.to = w
	return s
}

// Write implements io.Writer for the terminal's output. Output before the first
// message of the script is passed on, too.
func (s *Shell) Write(p []byte) (int, error) {
	if s.passThrough() {
		return s.filter.to.Write(p)
	}
	return s.filter.Write(p)
}

// passThrough reports whether the rest of the output needs no filter: no more
// messages follow, and no output is held back.
func (s *Shell) passThrough() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == Running && s.filter.matched == 0
}

// Reset prepares for a new connection, which starts a new shell.
func (s *Shell) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.processID = Unknown, ""
	s.filter.reset(true)
}

// State returns Unknown, NoDirectory, NoCommand, NotStarted or Running. Running
// does not change until Reset.
func (s *Shell) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// HangUpCommand returns the command that, run in the same container, ends the
// shell and its processes by HUP, then TERM, then KILL. It returns nil if the
// shell was not started. The command is needed because the servers do not end
// the shell when the client disconnects.
func (s *Shell) HangUpCommand() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !isProcessID(s.processID) {
		return nil
	}
	return []string{"sh", "-c", script.Shrink(hangUpScript), "kshell", s.processID}
}

// AliveCommand returns the command that, run in the same container, exits with
// 0 if the shell is running. It returns nil if the shell was not started.
func (s *Shell) AliveCommand() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !isProcessID(s.processID) {
		return nil
	}
	return []string{"sh", "-c", "[ -d /proc/" + s.processID + " ]"}
}

// report processes a message of the script.
func (s *Shell) report(message string) (last bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	message = strings.TrimSuffix(message, "\r") // added by the terminal
	if s.state == Running {
		return false, nil
	}
	if id, ok := strings.CutPrefix(message, messageRunning); ok {
		s.state, s.processID = Running, id
	}
	switch strings.TrimPrefix(message, messageEnded) {
	case outcomeNoCommand:
		s.state = NoCommand
	case outcomeNoDirectory:
		s.state = NoDirectory
	case outcomeFailed:
		s.state = NotStarted
	}
	return false, nil
}
