//go:build unix

package contract

import "testing"

func TestDoctor(t *testing.T) {
	t.Parallel()
	s, host := startSandbox(t)
	s.Review(true)
	Doctor(t, Users{
		Program:  Program{Path: kshellBinary(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()},
		ExecOnly: "exec-only", CreateOnly: "create-only", None: "none", Token: s.Token("exec-only"), Server: host,
	})
}
