// Package sandbox is an API server whose pods are processes of the local machine. It serves `make demo` and, in process,
// the tests: enough of the Kubernetes API to find a pod, and exec and attach over WebSocket exactly as a cluster speaks
// them, in every remote-command subprotocol.
//
// It does not know kshell: it imports none of its packages and meets it only on the wire. It isolates nothing either: a
// "container" is a private directory, an environment and a process group, run as the user who started the sandbox.
//
// Invariants:
//   - It listens on loopback unless it is given a listener, speaks only TLS, and answers only to its own random tokens.
//   - Everything on the wire goes through k8s.io/streaming's wsstream, the frame layer of the real API server, so what
//     that layer does wrong (fragmented messages, an empty stdin frame, an early close) it does wrong here too.
//   - A process that was started by exec outlives its client; no process outlives its container, and none outlives Close.
//   - Close ends every connection, process and goroutine, whatever state they are in, and then returns.
//   - It misbehaves only when a Fault says so; see Fault.
//
// The ends of real servers that lie, and what plays them:
//
//	unread stdin silences the server    by itself, unless Config.Gentle; with Fault.StartAfter also for commands that end at once
//	stdin in flight costs the verdict   Fault.InFlight, with Do at AtEnd, or LoseTail
//	a ping destroys the tail            Fault.LateReset, with Rate or a client that does not read
//	a Status not taken in time is lost  Fault.StatusDeadline
//	stdin is dropped                    Fault.DropStdin
//	a cut upload looks complete         any cut: RST, FIN, CloseFrame, Restart, or the client's own
//	attach always says Success          by itself
//	no verdict, or a made-up one        Fault.Do: CloseFrame, FIN, RST, Hang, SaySuccess
//
// It needs Unix: on Windows it compiles, and Start returns an error.
package sandbox
