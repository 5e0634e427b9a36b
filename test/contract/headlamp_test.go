//go:build unix

package contract

import (
	"path/filepath"
	"testing"

	"kshell/internal/sandbox"
	"kshell/test/faultproxy"
)

// sandboxHeadlamp is a HeadlampSetup with a sandbox. Its kubeconfig contains
// the URL of the cluster at the Headlamp server.
func sandboxHeadlamp(t *testing.T, cfg sandbox.HeadlampConfig) HeadlampSetup {
	t.Helper()
	s, _ := startSandbox(t)
	cfg.Dir = t.TempDir()
	front, err := s.StartHeadlamp(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(front.Kill)
	kubeconfig := filepath.Join(cfg.Dir, "kubeconfig")
	if err := front.WriteKubeconfig(kubeconfig, s.Token("admin")); err != nil {
		t.Fatal(err)
	}
	path := front.ClusterPath("main")
	w := HeadlampSetup{
		URL: "https://" + front.Addr() + path, Server: front, Cuts: *cuts,
		Nodes: func(*testing.T) Nodes { return sandboxNodes },
	}
	w.Program = Program{Path: kshellBinary(t), Kubeconfig: kubeconfig, Home: t.TempDir()}
	w.Through = func(t *testing.T) (*faultproxy.Proxy, []string) {
		t.Helper()
		proxy, err := faultproxy.Start(faultproxy.Config{Target: front.Addr()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = proxy.Close() })
		return proxy, []string{"--server", "https://" + proxy.Addr() + path}
	}
	return w
}

func TestHeadlamp(t *testing.T) {
	t.Parallel()
	Headlamp(t, sandboxHeadlamp(t, sandbox.HeadlampConfig{BaseURL: "/base"}))
}
