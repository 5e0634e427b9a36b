// Package interactive runs the sessions of a remote.Command on the local
// terminal: raw mode, the keys after the escape character (usually ~), suspend,
// the status line, and what is shown while the connection is lost.
//
// It does not know flags or YAML, and it makes no decisions about the command.
// It only wraps the command's stream.Driver and observes the command's
// sessions.
//
//   - run.go: Run, and Console: the terminal of one command
//   - session.go: one session, from Open to Close
//   - escape.go: the keys after the escape character
//   - outage.go: what is shown while there is no connection
//   - screen.go: alerts, and the state of the terminal that programs leave
//     behind
//   - idle.go: the end of a session in which no key is typed
//   - lend.go: gives the terminal to a credential plugin
//
// Invariants:
//
//   - The terminal is raw from the first open connection until the outcome of
//     the session is known, or until Close. It is not raw while kshell is
//     suspended or a credential plugin may prompt the user. Close restores the
//     terminal, and cleanup.Registry restores it when the program ends.
//   - Until the terminal is raw, Ctrl-C sends a signal to kshell.
//   - A line is not executed if a part of it may have been lost. If the shell
//     is still the same, the user can press Enter again to execute the line.
package interactive
