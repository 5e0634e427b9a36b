// Package nodeshell runs shells and commands on nodes: it creates a pod on the
// node, runs a shell or command in it, sends heartbeats, and deletes the pod
// afterwards. It also lists such pods, attaches to shells that were left
// running, and deletes pods that are not in use.
//
// It does not know flags. internal/node defines what a pod contains.
//
//   - manager.go: the node shells of one command line
//   - rights.go: checks the user's rights before a pod is created
//   - create.go: creates a pod, and explains refusals
//   - pod.go, progress.go: waits for a pod, runs a command in it, and deletes
//     it
//   - heartbeat.go: keeps a pod running
//   - attach.go: attaches the local terminal to a shell, and decides what the
//     end of a connection means
//   - join.go: joins the output of a new connection to what was shown before
//   - shellend.go: finds out whether and how a shell has ended
//   - existing.go: lists, finds and deletes existing pods
//
// Invariants:
//
//   - A pod that was created is deleted on every exit path, unless the user
//     leaves the shell running or other clients are attached to it. If it
//     cannot be deleted, the user is told its name.
//   - The success that the server reports for an attached stream is not
//     trusted: only the pod's status shows whether and how a shell has ended.
//   - Each request has a time limit, and ends with the context or, for
//     deletions, with the context of the cleanup.
package nodeshell
