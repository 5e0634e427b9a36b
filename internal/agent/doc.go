// Package agent is the protocol of the session agent, for both ends. The agent
// (cmd/kshell-agent) runs in a container, keeps a command running while no client
// is connected, and lets clients attach again. No byte is lost or repeated.
// docs/agent-protocol.md describes the protocol. internal/resume uses the Client.
//
// [Session] is the agent's end, and [Client] is kshell's end. Both are state
// machines: the caller passes them bytes and the time, and sends the bytes that they
// return. A relay is one connection between them, and may break at any time.
//
// The package knows no sockets, processes, terminals or clocks. It has no
// goroutines, and does not import fmt or net, which keeps the agent small.
//
// Invariants:
//   - A byte has the same offset on each relay. Bytes below the expected offset are
//     ignored, and a gap is an error that ends the relay.
//   - Input is acknowledged after it was written to the command, and output after it
//     was written on the client's side.
//   - The end of the input and each signal are applied once.
//   - Of the relays of one client, only the newest is read.
//   - The exit of the command is sent on each relay until it is acknowledged.
//   - Each length that the other end sends has a limit. No input makes either end
//     panic, or allocate more than its limits.
package agent
