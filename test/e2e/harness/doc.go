// Package harness runs a real two-node Kubernetes on this machine, for tests: etcd, API servers, scheduler, controllers, and two
// nodes that are namespaces of their own, so that links can be cut and machines be killed.
//
// It knows how to bring the cluster up, to take it down and to break it in ways that a test wants. It does not know kshell, and it
// prints nothing: what it does is told to Cluster.Log.
//
// Invariants:
//   - All state lies in one folder, Cluster.Dir. What is not there can be found again from it: a Cluster opened in another process
//     is as good as the one that started it.
//   - Each process is started in a session of its own, noted with its pid and start time, and stopped by that pid alone.
//   - The host keeps its sysctls, firewall, cgroups and mounts: only one bridge, its two links and routes over it, and one cgroup a
//     node are made, and Down removes them all.
//   - Nothing listens outside the bridge's own network.
//   - A node is namespaces: mount (with a root that is a throw-away overlay of the host's), pid (tini is PID 1), net, uts, ipc and
//     cgroup. Killing its tini is the loss of the machine.
package harness
