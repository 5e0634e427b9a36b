// Package exact runs a command so that its output and exit code arrive whole or not at all.
//
// The servers between a client and a command lose the tail of an output, take a code for another and wait for ever in several ways
// (docs/exact.md). Here the command is run by a small shell script on the far side, which says in the streams themselves that
// the command has ended, and how; which takes what is left of the input, so that no server is stuck with it; and which stays until the
// client has everything. The client's input travels in counted blocks, so that a cut is told from an end.
//
// It does not know sockets, subprotocols, Kubernetes or where the streams come from: it is arguments, readers and writers.
//
//   - What the command wrote is what comes out: nothing added, nothing missing, nothing held back for good.
//   - A code is the command's own, said behind its last byte on both streams. Without that there is no verdict.
//   - Before the script has said that the command runs, nothing of it has run, and nothing of the input was read.
package exact
