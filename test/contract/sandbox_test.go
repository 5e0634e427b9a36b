package contract

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"

	"kshell/internal/sandbox"
)

var (
	// runs is the number of large transfers.
	runs = flag.Int("runs", 5, "repetitions of the large transfers")
	// kubeconfig selects another server, such as that of `make cluster`.
	kubeconfig = flag.String("kubeconfig", "", "kubeconfig of a server with the seeded pods, instead of the sandbox")
)

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil { // most tests spend most of their time waiting
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(binaryDir) // binaryDir is "" if no test needed the binary
		os.Exit(code)
	}))
}

// startSandbox starts a sandbox with the seeded pods. host is its address, for
// tests that put a proxy in front of it.
func startSandbox(t *testing.T) (s *sandbox.Server, host string) {
	t.Helper()
	return startConfig(t, sandbox.Config{})
}

// startWeb is like startSandbox, with only one pod, web.
func startWeb(t *testing.T) (s *sandbox.Server, host string) {
	t.Helper()
	s, host = startConfig(t, sandbox.Config{Empty: true})
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}}}
	p.Name = "web"
	if err := s.AddPod(p); err != nil {
		t.Fatal(err)
	}
	return s, host
}

func startConfig(t *testing.T, cfg sandbox.Config) (s *sandbox.Server, host string) {
	t.Helper()
	cfg.Dir = t.TempDir()
	s, err := sandbox.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	return s, u.Host
}

// program returns kshell with its own sandbox, or with the server of
// -kubeconfig.
func program(t *testing.T) Program {
	t.Helper()
	if *kubeconfig != "" {
		return Program{Path: kshellBinary(t), Kubeconfig: *kubeconfig, Home: t.TempDir()}
	}
	s, err := sandbox.Start(sandbox.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return Program{Path: kshellBinary(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}
}

// binaryDir is the directory of the binary that buildOnce builds.
var binaryDir string

// buildOnce builds kshell for all tests, as for a release.
var buildOnce = sync.OnceValues(func() (path string, err error) {
	if binaryDir, err = os.MkdirTemp("", "kshell-contract-"); err != nil {
		return "", err
	}
	path = filepath.Join(binaryDir, "kshell")
	flags := []string{"build", "-trimpath", "-gcflags", "k8s.io/...=-l", "-ldflags", "-s -w", "-o", path} // see Makefile
	flags = append(flags, "kshell/cmd/kshell")
	cmd := exec.Command("go", flags...) //nolint:noctx // the binary outlives the test
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return path, fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

func kshellBinary(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExec(t *testing.T) {
	t.Parallel()
	p := program(t)
	t.Run("cases", func(t *testing.T) { Run(t, p) })
	t.Run("lost stderr", func(t *testing.T) { LostStderr(t, p) })
	t.Run("codes", func(t *testing.T) { ExitCodes(t, p) })
	t.Run("transfers", func(t *testing.T) { Transfers(t, p, 2_000_000, *runs) })
}

func TestClusters(t *testing.T) {
	t.Parallel()
	Clusters(t, program(t))
}
