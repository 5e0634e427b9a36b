package contract

import (
	"net/url"
	"testing"

	"kshell/internal/sandbox"
)

func TestWays(t *testing.T) {
	s, err := sandbox.Start(sandbox.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	Ways(t, Users{
		Program:  Program{Path: build(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()},
		ExecOnly: "exec-only", CreateOnly: "create-only", None: "none", Token: s.Token("exec-only"), Server: u.Host,
	})
}
