// Package harness runs a real two-node Kubernetes on this machine, for tests:
// etcd, API servers, scheduler, controllers, and two nodes. The nodes have
// their own namespaces, so that tests can cut their links and kill them.
//
// It can start the cluster, stop it, and break it in ways that tests need. It
// can start a Headlamp server in front of the cluster. It does not know kshell,
// except for the type sandbox.HeadlampCluster. It prints nothing, but calls
// Cluster.Log.
//
// Invariants:
//   - All state is in one directory, Cluster.Dir. Any process that opens this
//     directory gets an equivalent Cluster.
//   - Each process is started in its own session. Its pid and start time are
//     recorded, and it is stopped by that pid only.
//   - The sysctls, the firewall, the cgroups and the mounts of the host do not
//     change. The harness creates only a bridge, its two links and routes over
//     it, and a cgroup for each node, and Down removes them.
//   - All servers of the cluster listen only on the network of the bridge.
//   - A node consists of namespaces: mount (its root is a temporary overlay of
//     the host's), pid (tini is PID 1), net, uts, ipc and cgroup. Killing its
//     tini is like a power cut.
package harness
