// Package sandbox is an API server whose pods are processes on the local
// machine. `make demo` runs it, and the tests run it in process. It implements
// the part of the Kubernetes API that is needed to find a pod. It also
// implements exec and attach, over WebSocket in every remote-command
// subprotocol and over SPDY, byte for byte as a cluster does.
//
// The sandbox imports no package of kshell; both have only the wire protocol in
// common. The sandbox isolates nothing: a "container" is a private directory,
// an environment and a process group, run as the user who started the sandbox.
//
// Headlamp is the front of a Headlamp server. It can be in front of a sandbox
// or of any other API server. A test compares its answers with recorded answers
// of a real Headlamp server (testdata/headlamp-*).
//
// Invariants:
//   - By default, the sandbox listens on loopback. It speaks only TLS, and
//     accepts only its own random tokens. Only Headlamp can also speak HTTP.
//   - All WebSocket messages go through k8s.io/streaming's wsstream, the frame
//     layer of the real API server. The sandbox therefore has the same defects
//     with fragmented messages, an empty stdin frame, and an early close.
//   - A process started by an exec outlives its client. No process outlives its
//     container or Close.
//   - Close ends every connection, process and goroutine, in any state, and
//     then returns.
//   - Without Config.Gentle and without an injected Fault, the sandbox behaves
//     like a real server.
//
// Known defects of real servers, and how to reproduce them:
//
//	unread stdin blocks the Status    without Config.Gentle; with Fault.StartAfter, even if the command exits at once
//	stdin in flight, a false result   Fault.InFlight, with Do at AtEnd, or with LoseTail
//	a ping destroys the last output   Fault.LateReset, with Fault.Rate or with a client that does not read
//	a Status not read in time is lost Fault.StatusDeadline
//	stdin is dropped                  Fault.DropStdin
//	a cut upload looks complete       always after a cut by RST, FIN, CloseFrame, Restart or the client
//	attach always reports Success     always
//	no Status, or a false one         Fault.Do: CloseFrame, FIN, RST, Hang, SaySuccess
//
// The sandbox needs Unix: on Windows it compiles, and Start returns an error.
package sandbox
