// Package suite runs kshell on a real two-node Kubernetes: the contract that it
// has in common with the sandbox, and tests that need a cluster.
//
// `make e2e` runs it. It starts the cluster if it does not run (see package
// harness), and leaves it running. Tests that break the cluster are serial, and
// restore it before they return.
package suite

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"kshell/test/contract"
	"kshell/test/e2e/harness"
)

var (
	cluster *harness.Cluster
	kshell  string // path of the binary
	home    string // HOME of the programs
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	var err error
	if cluster, err = harness.Open(""); err != nil {
		return 0, err
	}
	cluster.Log = func(line string) { fmt.Println(line) }
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	if err := cluster.Up(ctx); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "kshell-suite-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	kshell, home = filepath.Join(dir, "kshell"), filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		return 0, err
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", kshell, "./cmd/kshell")
	build.Dir = "../../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("cannot build kshell: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// path is the way to one of the API servers. Its name is that of the component
// that translates v5: kubelet or apiserver.
type path struct{ name, kubeconfig string }

// apiPaths returns the paths to both API servers. v5 is translated by the
// kubelet on one path (as since Kubernetes 1.36), and by the API server on the
// other one (as in 1.30 to 1.35).
func apiPaths() []path {
	return []path{
		{"kubelet", cluster.Kubeconfig()},
		{"apiserver", cluster.KubeconfigTranslating()},
	}
}

// onEach runs a test with each API server.
func onEach(t *testing.T, test func(t *testing.T, p contract.Program)) {
	for _, way := range apiPaths() {
		t.Run(way.name, func(t *testing.T) { test(t, program(way.kubeconfig)) })
	}
}

func program(kubeconfig string) contract.Program {
	return contract.Program{Path: kshell, Kubeconfig: kubeconfig, Home: home}
}

func kubectl() contract.Program {
	return contract.Program{Path: cluster.Kubectl(), Kubeconfig: cluster.Kubeconfig(), Home: home}
}
