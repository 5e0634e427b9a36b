package contract

import (
	"testing"
)

func TestAccess(t *testing.T) {
	t.Parallel()
	s, host := startSandbox(t)
	Access(t, Users{
		Program:  Program{Path: kshellBinary(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()},
		ExecOnly: "exec-only", CreateOnly: "create-only", None: "none", Token: s.Token("exec-only"), Server: host,
	})
}
