// Package node builds, creates, inspects and deletes the pods that run shells
// and commands on nodes, and restores the output of such a shell across
// reconnects.
//
// It does not know sockets, terminals, flags or when to reconnect, and it
// prints nothing.
//
//   - pod.go, name.go, script.go: the pod, and what runs in it; pure functions
//   - refusal.go: why the API refused a pod, and hints; pure functions
//   - facts.go: the annotations and the deadline of a pod, as untrusted input
//   - status.go: whether a pod has ended or can be deleted, and whether a node
//     is ready
//   - replay.go, log.go, mark.go: restore the output of a shell from the
//     container's log
//   - client.go: the requests to the API server
//
// Invariants:
//
//   - The annotations of a pod are parsed only in facts.go, with limits,
//     because anyone who is allowed to edit the pod can change them.
//   - A pod is deleted only with its UID as a precondition, and only if it has
//     the labels that kshell sets (see IsNodeShell).
//   - Every pod ends even if no client deletes it. It ends after Options.TTL
//     (activeDeadlineSeconds), or earlier if no client sends a heartbeat (see
//     HeartbeatCommand) for Options.HeartbeatTimeout. A detached pod (see
//     DetachCommand) requires no heartbeats.
//   - The package starts no goroutine.
package node

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Container is the name of the pod's only container.
const Container = "shell"

// The profiles define what the pod may do on the node. They are named after
// those of kubectl debug.
const (
	SysAdmin = "sysadmin" // privileged
	General  = "general"  // the node's namespaces and files, as root without privileges
	NetAdmin = "netadmin" // like General, with NET_ADMIN and NET_RAW
)

// Profiles returns all profiles.
func Profiles() []string { return []string{SysAdmin, General, NetAdmin} }

// The ways to get from the container to the node.
const (
	Auto   = "auto"   // the first of Enter, Chroot and View that works
	Enter  = "enter"  // enter the namespaces of the node's first process
	Chroot = "chroot" // change the root directory to the node's
	View   = "view"   // stay in the image; the node's files are below /host
)

// Namespaces is a set of Linux namespaces.
type Namespaces struct{ Mount, PID, Net, IPC, UTS bool }

// Options describe a pod. Node, Name, Image, TTL and HeartbeatTimeout are
// required.
type Options struct {
	// The node and the pod.
	Node           string
	Windows        bool   // the node runs Windows, otherwise Linux
	Name           string // of the pod; the function Name returns a new one
	Namespace      string
	Labels         map[string]string
	ServiceAccount string
	PriorityClass  string

	// The container.
	Image      string
	PullPolicy corev1.PullPolicy
	PullSecret string
	Env        []corev1.EnvVar
	Claims     []string // persistent volume claims, mounted at /mnt/NAME in the image

	// Access to the node.
	Profile       string     // SysAdmin if empty
	Entry         string     // Auto if empty
	Private       Namespaces // the namespaces that the pod does not share with the node
	NoPropagation bool       // omit mountPropagation, which some nodes refuse; later mounts of the node are not visible

	// The main process.
	Shell    bool // the main process is the shell; otherwise the main process only waits, and commands run next to it
	Detached bool // the pod requires no heartbeats until a client attaches

	// Limits.
	TTL              time.Duration // the pod ends after this time in any case
	HeartbeatTimeout time.Duration // the pod ends after this time without a heartbeat, unless it is detached
	StartTimeout     time.Duration // how long the creator waits for the pod to start

	// Recorded in annotations.
	CreatedBy, CreatedFrom string // the local user and host; not recorded if empty
	CreatedAt              time.Time
	Reason                 string // why the pod is created, in one line, for an annotation; "" means no annotation
}
