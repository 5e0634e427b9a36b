//go:build unix

package contract

import (
	"os/exec"
	"path/filepath"
	"testing"

	"kshell/internal/sandbox"
)

// headlampCluster is the path of a cluster, on a server with a base URL.
const headlampCluster = "/dash/clusters/main"

// startHeadlamp starts a sandbox with a Headlamp server in front of it. cfg contains the
// switches of the server.
func startHeadlamp(t *testing.T, cfg sandbox.HeadlampConfig) (*sandbox.Server, *sandbox.Headlamp, HeadlampSetup) {
	t.Helper()
	s, _ := startSandbox(t)
	cfg.Dir, cfg.BaseURL = t.TempDir(), "/dash"
	h, err := s.StartHeadlamp(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := h.WriteKubeconfig(kubeconfig, s.Token("admin")); err != nil {
		t.Fatal(err)
	}
	w := setupOf(t, s, h.Addr(), headlampCluster)
	w.Kubeconfig = kubeconfig
	return s, h, HeadlampSetup{
		Setup: w, Nodes: sandboxNodes, ClusterPath: headlampCluster,
		Kill: func(t *testing.T) func() {
			t.Helper()
			h.Kill()
			return func() {
				if err := h.Start(); err != nil {
					t.Error(err)
				}
			}
		},
	}
}

func TestHeadlamp(t *testing.T) {
	t.Parallel()
	_, _, w := startHeadlamp(t, sandbox.HeadlampConfig{})
	Headlamp(t, w, *cuts)
}

// TestHeadlamp_LongCommands checks long commands through a proxy with nginx's
// default limit of a request line.
func TestHeadlamp_LongCommands(t *testing.T) {
	t.Parallel()
	_, _, w := startHeadlamp(t, sandbox.HeadlampConfig{LineLimit: 8192})
	LongCommands(t, w.Program, w.Nodes)
}

func TestHeadlamp_AnsweredQueries(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("busybox is not installed")
	}
	_, _, w := startHeadlamp(t, sandbox.HeadlampConfig{})
	AnsweredQueries(t, w.Program, "busybox", "ash")
}
