//go:build unix

package contract

import (
	"flag"
	"testing"

	"kshell/internal/sandbox"
	"kshell/test/faultproxy"
)

// cuts is how often the connection of a node shell is cut.
var cuts = flag.Int("cuts", 5, "how often the connection of a node shell is cut")

// sandboxNodes are the nodes of every sandbox.
var sandboxNodes = Nodes{
	Image:      sandbox.NodeImage,
	Names:      []string{"node1", "node2"},
	Restricted: "restricted",
	Namespace:  "other",
}

func TestNodeShell(t *testing.T) {
	t.Parallel()
	NodeShells(t, program(t), sandboxNodes)
}

func TestNodeShell_Resumes(t *testing.T) {
	t.Parallel()
	kshell := kshellBinary(t)
	p, exec, proxy := proxiedSandbox(t, kshell)
	NodeShellResumes(t, p, sandboxNodes, *cuts, func() { proxy.Cut(faultproxy.Both, faultproxy.RST) }, exec[1:]...)
}

func TestNodeShell_LogGap(t *testing.T) {
	t.Parallel()
	kshell := kshellBinary(t)
	for name, fault := range map[string]sandbox.Fault{
		"rotated in the outage":        {Path: "/attach", Do: sandbox.RotateLog},
		"rotated when the log is read": {Path: "/log", Do: sandbox.RotateLog},
		"deleted in the outage":        {Path: "/attach", Do: sandbox.DeleteLog},
		"deleted when the log is read": {Path: "/log", Do: sandbox.DeleteLog},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p, exec, proxy := startProxied(t, kshell)
			lose := func(string) {
				fault := fault
				fault.When, fault.Times = sandbox.AtRequest, 1
				s.Inject(fault)
			}
			NodeShellLogGap(t, p, sandboxNodes, func() { proxy.Cut(faultproxy.Both, faultproxy.RST) }, lose, exec[1:]...)
		})
	}
}

func TestNodeShell_Detached(t *testing.T) {
	t.Parallel()
	NodeShellDetached(t, program(t), sandboxNodes)
}
