// Package remote runs one command in one container of a pod. Its API resembles
// os/exec: Resolve finds the container, New returns a Command, Command.Run or
// RunTTY runs it, and Command.Report describes the run.
//
// Package remote does not know flags or the local terminal. For a command with
// a tty, internal/interactive implements the interface Terminal.
//
//   - env.go, server.go: what all commands of the process share
//   - cluster.go, background.go: the clients of one API server, and their
//     credentials
//   - target.go: finds the container
//   - command.go: the command, its streams and its report
//   - driver.go: what happens when a connection is opened and when it ends
//   - session.go: runs a session, and tells the user what kshell waits for
//   - exact.go, shell.go: run a command with a script of internal/exact or, if
//     the container cannot run the script, without one
//   - resume.go: runs a command by the session agent (internal/resume)
//   - sessions.go: lists, chooses and ends the sessions of the session agent
//   - podwatch.go: watches the pod during a session
//   - explain.go, rights.go: add hints to errors
//   - image.go: records which images support exact mode, for a command in many
//     pods
//
// Invariants:
//
//   - A Command starts its command at most once per connection. It starts the
//     command a second time only if Options.Reconnect allows a new connection.
//     The session agent runs its command once, on any number of connections.
//   - If a script runs the command, a success that the server reports is not
//     trusted. In exact mode, the script itself must report the success. For a
//     shell on a terminal, kshell checks that the shell no longer runs, unless
//     the user has just typed what ends a shell.
//   - Each request has a time limit and ends with the context.
//   - A request during a session never runs a credential plugin on the
//     terminal.
package remote
