//go:build unix

package contract

import (
	"flag"
	"testing"

	"kshell/internal/sandbox"
	"kshell/test/faultproxy"
)

// cuts is how often the link of a node shell is broken: a few every day, 50 when it counts.
var cuts = flag.Int("cuts", 5, "how often the link of a node shell is cut")

// sandboxNodes are the nodes that every sandbox has.
var sandboxNodes = Nodes{Image: sandbox.NodeImage, Names: []string{"node1", "node2"}, Restricted: "restricted", Namespace: "other"}

func TestNodeShell(t *testing.T) {
	t.Parallel()
	NodeShells(t, program(t), sandboxNodes)
}

func TestNodeShellResumes(t *testing.T) {
	t.Parallel()
	kshell := build(t)
	p, exec, proxy := behind(t, kshell)
	NodeShellResumes(t, p, sandboxNodes, *cuts, func() { proxy.Cut(faultproxy.Both, faultproxy.RST) }, exec[1:]...)
}

func TestNodeShellStays(t *testing.T) {
	t.Parallel()
	NodeShellStays(t, program(t), sandboxNodes)
}
