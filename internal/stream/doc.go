// Package stream moves bytes between local streams and a remote process over WebSocket, keeps the session alive across
// sockets, and says truthfully how it ended.
//
// It speaks the remote-command subprotocols of Kubernetes (exec, attach) and plain message streams (watch). It does not know
// Kubernetes objects, kubeconfig files, file descriptors or terminals, and it prints nothing: what happens is told through
// callbacks and errors.
//
//   - frame.go: channel and payload to message and back, status to error; pure
//   - status.go: the end of a status that arrives in pieces; pure
//   - dial.go: one handshake, and why it was refused
//   - spdy.go: the same conversation by SPDY, where a WebSocket is refused, through client-go's remotecommand
//   - gather.go: the writes of a socket, joined
//   - inbound.go: what arrives on a socket, and how long its reader has waited
//   - conn.go: one socket; lives once
//   - liveness.go: when to ping a server, and when a link is dead
//   - session.go: many sockets, one after the other; the only loop that retries
//   - events.go: messages from the server over the same loop
//
// Invariants:
//
//   - There are three endings: nil, the command said that it succeeded; *ExitError, it said a code; *LostError, nobody said
//     anything. A polite close without a status is a loss. (*RemoteError: it could not be run, and the server said why.)
//   - Each Conn is used once. After the 101 answer a new Conn means a new process.
//   - Every goroutine is started in a group and waited for; a panic in one comes out of the function that waits. (Those of the SPDY
//     library end soon after their connection, and have nothing then that they could read or write.)
//   - After cancel nothing more is delivered.
//   - Nothing that a server sends is held without a bound: 4 MiB for a status, an event, a text message or a
//     SPDY frame, 64 KiB for a refusal.
//   - Reading never waits for writing: a remote that does not read its stdin can still be heard.
package stream
