// Package node builds, watches over and removes the pods that are a shell on a node, and puts together what such a shell has printed.
//
// It does not know sockets, terminals or how a session is retried. It prints nothing.
//
//   - pod.go, name.go, script.go: the pod, and what runs in it; pure
//   - refusal.go: why the API refuses such a pod, and what would help; pure
//   - facts.go: the annotations and the deadline of a pod, as untrusted input; pure
//   - leftover.go: which pods are leftovers; pure
//   - tape.go, log.go: the output of a shell across reconnects, each byte once, with the help of the container's log
//   - client.go: the requests to the API server
//
// Invariants:
//
//   - The annotations of a pod are parsed in facts.go alone, with limits:
//     anyone who may edit the pod can write them.
//   - A pod is deleted only with its uid as a precondition, and only if it has
//     kshell's labels.
//   - Every pod ends by itself: after Options.TTL (activeDeadlineSeconds), and
//     when no heartbeat has reached it for Options.Stale.
//   - No goroutine is started.
package node

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Container is the name of the pod's one container.
const Container = "shell"

// What the pod may do on the node, after kubectl debug's profiles.
const (
	SysAdmin = "sysadmin" // everything
	General  = "general"  // the node's namespaces and files, as an ordinary root
	NetAdmin = "netadmin" // that, and its network
)

// Profiles are all of them.
func Profiles() []string { return []string{SysAdmin, General, NetAdmin} }

// How to get from the image's files to the node's.
const (
	Auto   = "auto"   // the first of the others that leads to a shell
	Enter  = "enter"  // the namespaces of the node's first process
	Chroot = "chroot" // the node's files, nothing else
	View   = "view"   // not at all: the node's files are a folder of the image's
)

// Namespaces are the namespaces that are not to be the node's.
type Namespaces struct{ Mount, PID, Net, IPC, UTS bool }

// Options say what pod is wanted. Node, Name, Image, TTL and Stale are needed.
type Options struct {
	Node      string
	Name      string // of the pod; see Name
	Namespace string
	Windows   bool

	Image          string
	PullPolicy     corev1.PullPolicy
	PullSecret     string
	ServiceAccount string
	PriorityClass  string
	Labels         map[string]string
	Claims         []string // persistent volume claims, seen by the image only: in /mnt/NAME
	Profile        string   // empty: SysAdmin
	Entry          string   // empty: Auto
	Private        Namespaces
	NoPropagation  bool // no mountPropagation, for nodes that refuse it: later mounts of the node are not visible in the pod

	Shell    bool // the pod's main process is the shell; else it does nothing, and commands are run beside it
	Detached bool // no heartbeat is needed from the start
	Env      []corev1.EnvVar

	TTL              time.Duration // the pod ends after this time, whatever happens
	HeartbeatTimeout time.Duration // and after this time without a heartbeat (Beat), unless it is detached
	StartTimeout     time.Duration // how long its creator waits for it to start

	// The local user and host that create the pod, and the time, for its
	// annotations.
	CreatedBy, CreatedFrom string
	CreatedAt              time.Time
}
