// Package node builds, watches over and removes the pods that are a shell on a node, and puts together what such a shell has printed.
//
// It does not know sockets, terminals or how a session is retried. It prints nothing.
//
//   - pod.go, name.go, script.go: the pod, and what runs in it; pure
//   - refusal.go: why the API refuses such a pod, and what would help; pure
//   - facts.go: what a pod says about itself, as untrusted input; pure
//   - leftover.go: which pods are leftovers; pure
//   - tape.go, log.go: the output of a shell to which one comes back, each byte once; over a reader of the container's log
//   - client.go: the few requests
//
// Invariants:
//
//   - What a pod's annotations say is parsed with limits, in facts.go alone: anyone who may edit the pod can write them.
//   - A pod is deleted only with its uid, and only if it carries our labels.
//   - Every pod ends by itself: after Options.TTL (activeDeadlineSeconds), and when no heartbeat has reached it for Options.Stale.
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

// Apart are the namespaces that are not to be the node's.
type Apart struct{ Mount, PID, Net, IPC, UTS bool }

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
	How            string   // empty: Auto
	Apart          Apart
	NoPropagation  bool // mounts that the node makes later are not seen below its files; for nodes that refuse mountPropagation

	Shell    bool // the pod's main process is the shell; else it does nothing, and commands are run beside it
	Detached bool // nobody needs to be there from the start
	Env      []corev1.EnvVar

	TTL   time.Duration // the pod ends after this time, whatever happens
	Stale time.Duration // and after this time without a heartbeat (Beat), unless it is detached
	Waits time.Duration // who made it waits so long for it to start

	// Who, from where and when, for whoever finds the pod.
	By, From string
	At       time.Time
}
