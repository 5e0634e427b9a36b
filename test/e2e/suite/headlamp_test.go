package suite

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/sandbox"
	"kshell/test/contract"
	"kshell/test/e2e/harness"
	"kshell/test/faultproxy"
)

var headlampServer = flag.String("headlamp-server", "",
	"path of a real headlamp-server, which the tests use instead of sandbox.Headlamp")

// headlampBase is the base URL of the Headlamp servers in tests.
const headlampBase = "/headlamp"

// headlampFront is a *sandbox.Headlamp or a *harness.HeadlampProcess.
type headlampFront interface {
	Addr() string
	Kill()
	Start() error
}

// headlamp is a Headlamp server in front of both API servers.
type headlamp struct {
	headlampFront
	ca []byte // certificate of the certificate authority, in PEM
}

// startHeadlamp starts a Headlamp server, which runs until the end of the test.
func startHeadlamp(t *testing.T) headlamp {
	t.Helper()
	clusters, err := cluster.HeadlampClusters()
	must(t, err)
	dir := t.TempDir()
	if *headlampServer == "" {
		front, err := sandbox.StartHeadlamp(sandbox.HeadlampConfig{Dir: dir, BaseURL: headlampBase, Clusters: clusters})
		must(t, err)
		t.Cleanup(front.Kill)
		ca, err := os.ReadFile(front.CA())
		must(t, err)
		return headlamp{front, ca}
	}
	cert, key := selfSigned(t)
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(certFile, cert, 0o600))
	must(t, os.WriteFile(keyFile, key, 0o600))
	process, err := harness.StartHeadlampProcess(harness.HeadlampProgram{
		Path: *headlampServer, Dir: dir, BaseURL: headlampBase, CertFile: certFile, KeyFile: keyFile, Clusters: clusters,
	})
	must(t, err)
	t.Cleanup(process.Kill)
	return headlamp{process, cert}
}

// clusterPath returns the path of the API server's cluster on a Headlamp
// server.
func clusterPath(s harness.Server) string { return headlampBase + "/clusters/" + s.HeadlampName() }

// setup returns a setup whose program connects to s through the Headlamp
// server. For MainServer, kshell gets the URL from --headlamp or
// KSHELL_HEADLAMP, and for the other API server from the kubeconfig or
// --server.
func (h headlamp) setup(t *testing.T, s harness.Server) contract.HeadlampSetup {
	t.Helper()
	w, flag := setup(s), "--server"
	if s == harness.MainServer {
		flag = "--headlamp"
		ca := filepath.Join(t.TempDir(), "ca.pem")
		must(t, os.WriteFile(ca, h.ca, 0o600))
		w.Env = []string{"KSHELL_HEADLAMP=https://" + h.Addr() + clusterPath(s), "SSL_CERT_FILE=" + ca}
		w.Kubeconfig = headlampKubeconfig(t, s, "https://api.invalid", nil)
	} else {
		w.Kubeconfig = headlampKubeconfig(t, s, "https://"+h.Addr()+clusterPath(s), h.ca)
	}
	w.Through = func(t *testing.T) (*faultproxy.Proxy, []string) {
		t.Helper()
		proxy, err := faultproxy.Start(faultproxy.Config{Target: h.Addr(), Remote: true, Buffer: 32 << 10})
		must(t, err)
		t.Cleanup(func() { _ = proxy.Close() })
		return proxy, []string{flag, "https://" + proxy.Addr() + clusterPath(s)}
	}
	return contract.HeadlampSetup{
		Setup: w, Nodes: nodes(t), ClusterPath: clusterPath(s),
		Kill: func(t *testing.T) (start func()) {
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

// headlampKubeconfig writes a kubeconfig, and returns its path. server is the
// URL of its API server, and its user is the admin. Its context has the name of
// s on a Headlamp server.
func headlampKubeconfig(t *testing.T, s harness.Server, server string, ca []byte) string {
	t.Helper()
	admin, err := cluster.Config(harness.Admin, harness.MainServer)
	must(t, err)
	cfg, name := api.NewConfig(), s.HeadlampName()
	cfg.Clusters[name] = &api.Cluster{Server: server, CertificateAuthorityData: ca}
	cfg.AuthInfos["admin"] = &api.AuthInfo{Token: admin.BearerToken}
	cfg.Contexts[name] = &api.Context{Cluster: name, AuthInfo: "admin", Namespace: harness.Namespace}
	cfg.CurrentContext = name
	file := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, clientcmd.WriteToFile(*cfg, file))
	return file
}

// TestHeadlamp runs kshell through a Headlamp server: sandbox.Headlamp, or the
// program of the flag -headlamp-server.
func TestHeadlamp(t *testing.T) {
	inCI(t)
	const kills = 5
	onServers(t, func(t *testing.T, s harness.Server) {
		contract.Headlamp(t, startHeadlamp(t).setup(t, s), kills)
	})
}

// TestHeadlamp_Clusters checks the command clusters with a kubeconfig whose
// server URL is that of a cluster of a Headlamp server.
func TestHeadlamp_Clusters(t *testing.T) {
	inCI(t)
	contract.Clusters(t, startHeadlamp(t).setup(t, harness.TranslatingServer).Program)
}

// TestHeadlamp_Watches runs the command watch through a Headlamp server.
func TestHeadlamp_Watches(t *testing.T) {
	notInCI(t)
	contract.Watches(t, startHeadlamp(t).setup(t, harness.TranslatingServer).Setup)
}

// TestHeadlamp_Nginx runs kshell through nginx, with its default limits and
// timeouts, in front of a Headlamp server.
func TestHeadlamp_Nginx(t *testing.T) {
	notInCI(t)
	const longIdle = 90 * time.Second // proxy_read_timeout of nginx is 60 s
	onServers(t, func(t *testing.T, s harness.Server) {
		t.Parallel()
		h := startHeadlamp(t)
		address, cert := startNginx(t, h.Addr(), "")
		p := program(headlampKubeconfig(t, s, "https://"+address+clusterPath(s), cert))
		t.Run("idle", func(t *testing.T) {
			t.Parallel()
			checkIdleShell(t, p, longIdle)
		})
		t.Run("long commands", func(t *testing.T) {
			t.Parallel()
			contract.LongCommands(t, p, nodes(t))
		})
	})
}
