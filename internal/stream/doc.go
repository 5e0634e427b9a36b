// Package stream copies data between local streams and a remote process over
// WebSocket, reconnects the session if a connection is lost, and reports the
// outcome reliably.
//
// It implements the remote-command subprotocols of Kubernetes (exec, attach)
// and plain message streams (watch). It does not know Kubernetes objects,
// kubeconfig files, file descriptors or terminals, and it prints nothing: it
// reports through callbacks and errors.
//
//   - frame.go: converts channel and payload to a message and back, and a
//     status to an error; pure
//   - status.go: finds the end of a status that arrives in pieces; pure
//   - transport.go: opens a connection by WebSocket, or by SPDY, with new
//     credentials if needed
//   - dial.go: makes one handshake
//   - spdy.go: makes one handshake by SPDY; adapts package spdy to a socket
//   - refusal.go: classifies refused handshakes by what the server answered
//   - errors.go: the other errors
//   - bufferedconn.go: combines the writes to a network connection
//   - readtimer.go: measures how long the reader of a connection has waited
//   - conn.go: one connection, used once
//   - liveness.go: decides when to ping a server, and when a link is dead
//   - driver.go: what the caller implements and observes
//   - link.go: opens one connection after the other; the only loop that retries
//   - session.go: one remote command over a link; stdin.go sends its stdin,
//     start.go limits the time until it starts, stuck.go asks whether it still
//     runs
//   - events.go: receives messages from the server over a link
//
// Invariants:
//
//   - There are three outcomes: nil, an explicit success; *ExitError, an exit
//     code; *LostError, no report of the outcome. A normal close without a
//     status is a loss. (*RemoteError: the command could not be run, and the
//     server reported why.)
//   - Each Conn is used once. After the 101 answer, a new Conn means a new
//     process.
//   - Every goroutine is started in a group and waited for; if one panics, the
//     function that waits panics, too. (The goroutines of the SPDY library end
//     soon after their connection, when there is nothing left that they could
//     read or write.)
//   - After cancel, nothing more is delivered.
//   - Everything held in memory that a server sends is limited: 4 MiB for a
//     status, an event, a text message or a SPDY frame, 64 KiB for a refusal.
//   - Reading never waits for writing: output arrives even if the remote does
//     not read its stdin.
package stream
