// Package exact runs a command so that all of its output and its own exit code
// arrive, or an error.
//
// The servers between a client and a container lose the end of an output, report
// wrong exit codes, and block in several cases (docs/exact.md). Therefore the
// command is run by a shell script in the container, the remote. The script
// reports on stdout and stderr that the command has ended, and how; it reads the
// rest of the input, so that no server blocks on it; and it stays until the client
// has received everything. The input is sent in counted blocks, so that the
// script can tell a lost connection from the end of the input.
//
// The package does not know sockets, subprotocols, Kubernetes or where the
// streams come from. It deals with arguments, readers and writers.
//
// Invariants:
//
//   - The client receives exactly the bytes that the command wrote, and none are
//     held back for long.
//   - An exit code is the command's own, and is reported after its last byte on
//     both streams. Without that report there is no exit code.
//   - Until the script has reported that the command runs, the command has not
//     been started, and no input has been read.
package exact
