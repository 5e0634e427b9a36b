// Package exact runs a command so that the client receives all of its output
// and its exit code, or an error.
//
// In several cases, the servers between a client and a container lose the end
// of the output, report a wrong exit code, or block (docs/exact.md). Therefore
// a shell script in the container runs the command. This script, also called
// the remote, reports the end of the command and its exit code on both stdout
// and stderr. It then reads the rest of the input, so that no server blocks
// while sending it, and runs until the client has received everything. The
// input is sent in counted blocks, so that the script can tell a lost
// connection from the end of the input.
//
// The package does not know sockets, subprotocols, Kubernetes or where the
// streams come from. It uses only arguments, readers and writers.
//
// Invariants:
//
//   - The client receives exactly the bytes that the command wrote, and none
//     are held back for long.
//   - The exit code is the command's own. The script reports it after the
//     command's last byte on both streams; without that report, the client has
//     no exit code.
//   - The script reports that the command runs before it starts the command.
//     The client reads no input before it has received this report.
package exact
