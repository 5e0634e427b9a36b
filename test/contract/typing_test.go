//go:build unix

package contract

import (
	"testing"

	"kshell/test/faultproxy"
)

func TestTyping_NewShell(t *testing.T) {
	t.Parallel()
	TypeLines(t, sandboxSetup(t), 1000)
}

func TestTyping_SameShell(t *testing.T) {
	t.Parallel()
	p, exec, proxy := proxiedSandbox(t, kshellBinary(t))
	NodeShellTypeLines(t, p, sandboxNodes, 200, 20, func() { proxy.Cut(faultproxy.Both, faultproxy.RST) }, exec[1:]...)
}
