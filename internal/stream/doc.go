// Package stream copies data between local streams and a remote process over
// WebSocket, reconnects the session if a connection is lost, and reports the
// outcome reliably.
//
// It implements the remote-command subprotocols of Kubernetes (exec, attach),
// plain message streams, and lists and watches of objects of any type. Of an
// object it knows only the metadata. It does not know kubeconfig files, file
// descriptors or terminals, and it prints nothing: it reports through callbacks
// and errors.
//
//   - frame.go: converts channel and payload to a message and back, and a
//     status to an error; no I/O
//   - status.go: finds the end of a status that arrives in pieces; no I/O
//   - transport.go: opens a connection over WebSocket or SPDY, with new
//     credentials if needed
//   - dial.go: makes one WebSocket handshake
//   - spdy.go: makes one SPDY handshake; adapts package spdy to the socket
//     interface
//   - refusal.go: classifies refused handshakes by the server's answer
//   - errors.go: most of the other error types
//   - bufferedconn.go: combines the writes to a network connection
//   - readtimer.go: measures how long the reader of a connection has waited
//   - conn.go: one connection, used once
//   - liveness.go: decides when to ping a server, and when a link is dead
//   - prober.go: checks whether a server answers on a new connection
//   - tcp.go: reads the kernel's state of a TCP connection
//   - driver.go: what the caller implements and observes
//   - link.go: opens one connection after another; contains the only retry loop
//   - session.go: one remote command over a link; stdin.go sends its stdin,
//     start.go limits the time until it starts, stuck.go checks whether it is
//     still running
//   - relay.go: commands that carry the caller's bytes, over a link
//   - events.go: receives messages from the server over a link
//   - objects.go: lists and watches objects over a link; objects_list.go reads
//     the list, objects_watch.go receives the events, view.go compares both with
//     what was delivered before; object.go contains the metadata of an object,
//     and eventerror.go the errors of a watch
//   - many.go: runs several Objects, such as those of several clusters
//   - get.go: makes plain requests; httpsocket.go reads messages from an HTTP
//     answer
//
// Invariants:
//
//   - A command has one of four outcomes: nil (the server reported success),
//     *ExitError (it reported an exit code), *RemoteError (it reported another
//     failure, most often that the command could not be run) and *LostError (it
//     reported no outcome). If the subprotocol reports the outcome in a
//     metav1.Status, a normal close without a Status results in a *LostError.
//   - Each Conn is used once. For exec, the server starts the command as soon
//     as it has accepted a handshake (101), so each new Conn starts a new
//     process.
//   - Every goroutine is started in a group.Group, whose Wait waits for it. If
//     a goroutine panics, Wait panics, too. (The goroutines of the SPDY library
//     are not waited for: they end soon after their connection is closed.)
//   - After the context ends, no more output is delivered.
//   - The data from a server that is held in memory is limited: to 4 MiB for a
//     status, an event, a text message or a SPDY frame, to 64 KiB for a
//     refusal, and to 256 MiB of JSON for all objects of a list.
//   - Reading never waits for writing: output arrives even if the remote does
//     not read its stdin.
package stream
