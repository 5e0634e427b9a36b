package contract

import (
	"testing"
)

func TestWays(t *testing.T) {
	t.Parallel()
	s, host := startSandbox(t)
	Ways(t, Users{
		Program:  Program{Path: build(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()},
		ExecOnly: "exec-only", CreateOnly: "create-only", None: "none", Token: s.Token("exec-only"), Server: host,
	})
}
