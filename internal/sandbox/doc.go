// Package sandbox is an API server whose pods are processes on the local
// machine. `make demo` runs it, and the tests run it in process. It implements
// as much of the Kubernetes API as is needed to find a pod, and exec and attach
// over WebSocket (in every remote-command subprotocol) and SPDY, byte for byte
// as a cluster does.
//
// It does not know kshell: it imports none of its packages, and shares only the
// wire protocol with it. It isolates nothing: a "container" is a private
// directory, an environment and a process group, run as the user who started
// the sandbox.
//
// Invariants:
//   - It listens on loopback unless it is given a listener, speaks only TLS,
//     and accepts only its own random tokens.
//   - All WebSocket messages go through k8s.io/streaming's wsstream, the frame
//     layer of the real API server. The sandbox therefore has the same
//     defects (fragmented messages, an empty stdin frame, an early close).
//   - A process started by an exec outlives its client. No process outlives its
//     container or Close.
//   - Close ends every connection, process and goroutine, in any state, and
//     then returns.
//   - Without an injected Fault, it behaves like a real server.
//
// Known defects of real servers, and how to reproduce them:
//
//	unread stdin blocks the Status    always, unless Config.Gentle; with StartAfter even if the command exits at once
//	stdin in flight replaces Status   Fault.InFlight, with Do at AtEnd, or LoseTail
//	a ping destroys the last output   Fault.LateReset, with Rate or a client that does not read
//	a Status not read in time is lost Fault.StatusDeadline
//	stdin is dropped                  Fault.DropStdin
//	a cut upload looks complete       any cut: RST, FIN, CloseFrame, Restart, or the client's own
//	attach always reports Success     always
//	no Status, or a false one         Fault.Do: CloseFrame, FIN, RST, Hang, SaySuccess
//
// The sandbox needs Unix: on Windows it compiles, and Start returns an error.
package sandbox
