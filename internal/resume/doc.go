// Package resume is the client of the session agent: it starts the agent in a
// container, attaches to its sessions, and attaches again when a connection is
// lost. The command keeps running, and no byte is lost or repeated.
//
// A relay is an exec whose stdin and stdout carry the frames of
// internal/agent. internal/stream opens relays, one after another. The agent is
// the program cmd/kshell-agent.
//
//   - session.go, relay.go, streams.go: Session, a command whose relays may
//     break; pulse.go decides whether a relay has stopped answering
//   - errors.go: the errors of this package
//   - notice.go: what a Session reports to its caller, besides events
//   - start.go: Start, the command to be started, and the command line of the
//     first relay; env.sh, shell.sh and start.sh are the parts of its script
//   - setup.go: the dialogue with the script that brings the agent into the
//     container
//   - probe.go: checks what a container has that the agent needs
//   - list.go: lists and ends sessions
//
// The package knows no terminals, pods or configuration.
package resume
