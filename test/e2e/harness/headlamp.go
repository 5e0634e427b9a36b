package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/sandbox"
)

// HeadlampName returns the name of the API server's cluster on a Headlamp
// server.
func (s Server) HeadlampName() string {
	if s == TranslatingServer {
		return "v5-apiserver"
	}
	return "v5-kubelet"
}

// HeadlampClusters returns the clusters of a Headlamp server in front of both
// API servers. They contain no credentials.
func (c *Cluster) HeadlampClusters() ([]sandbox.HeadlampCluster, error) {
	var clusters []sandbox.HeadlampCluster
	for _, s := range []Server{MainServer, TranslatingServer} {
		cfg, err := c.Config(Admin, s)
		if err != nil {
			return nil, err
		}
		clusters = append(clusters, sandbox.HeadlampCluster{
			Name: s.HeadlampName(), Config: rest.AnonymousClientConfig(cfg), Namespace: Namespace,
		})
	}
	return clusters, nil
}

// HeadlampProgram configures a real Headlamp server.
type HeadlampProgram struct {
	Path    string // of headlamp-server
	Dir     string // for its files
	BaseURL string // such as /headlamp
	// CertFile and KeyFile contain the certificate and the key of the server,
	// in PEM. The certificate must be valid for HeadlampIP.
	CertFile, KeyFile string
	Clusters          []sandbox.HeadlampCluster
}

// HeadlampIP is the address on which a HeadlampProcess listens. On a loopback
// address, Headlamp would reject requests whose Host header has another port,
// such as that of a test's proxy.
const HeadlampIP = hostIP

// HeadlampProcess is a Headlamp server that runs in its own process.
type HeadlampProcess struct {
	program HeadlampProgram
	addr    string
	cmd     *exec.Cmd // nil if the server is not running
}

// StartHeadlampProcess starts a Headlamp server, which runs until Kill is
// called. It listens on an unused port of HeadlampIP.
func StartHeadlampProcess(p HeadlampProgram) (*HeadlampProcess, error) {
	cfg := api.NewConfig()
	cfg.AuthInfos["none"] = &api.AuthInfo{} // Headlamp rejects a context without a user
	for _, cluster := range p.Clusters {
		cfg.Clusters[cluster.Name] = &api.Cluster{
			Server: cluster.Config.Host, CertificateAuthorityData: cluster.Config.CAData,
		}
		cfg.Contexts[cluster.Name] = &api.Context{
			Cluster: cluster.Name, AuthInfo: "none", Namespace: cluster.Namespace,
		}
	}
	h := &HeadlampProcess{program: p}
	for _, sub := range []string{"home", "static"} {
		if err := os.MkdirAll(filepath.Join(p.Dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	// Without this page, the server does not start.
	page := filepath.Join(p.Dir, "static", "index.html")
	if err := os.WriteFile(page, []byte("<html><head></head><body></body></html>\n"), 0o600); err != nil {
		return nil, err
	}
	if err := clientcmd.WriteToFile(*cfg, h.kubeconfig()); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(HeadlampIP, "0"))
	if err != nil {
		return nil, err
	}
	h.addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	return h, h.Start()
}

func (h *HeadlampProcess) kubeconfig() string { return filepath.Join(h.program.Dir, "clusters") }

// Addr returns the address of the server, host:port.
func (h *HeadlampProcess) Addr() string { return h.addr }

// Start starts the server again after Kill, and waits until it listens.
func (h *HeadlampProcess) Start() error {
	p := h.program
	_, port, err := net.SplitHostPort(h.addr)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(p.Dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(p.Path, "-listen-addr", HeadlampIP, "-port", port, "-base-url", p.BaseURL,
		"-kubeconfig", h.kubeconfig(), "-tls-cert-path", p.CertFile, "-tls-key-path", p.KeyFile,
		"-html-static-dir", filepath.Join(p.Dir, "static"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(p.Dir, "home")}
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	h.cmd = cmd
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = waitFor(ctx, 50*time.Millisecond, func(context.Context) error {
		conn, err := net.DialTimeout("tcp", h.addr, time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		h.Kill()
		text, _ := os.ReadFile(log.Name()) // without the log, the error is still useful
		return fmt.Errorf("%s does not listen: %w\n%s", p.Path, err, text)
	}
	return nil
}

// Kill ends the server with SIGTERM, or with SIGKILL after stopTimeout, and
// waits until it has exited.
func (h *HeadlampProcess) Kill() {
	if h.cmd == nil {
		return
	}
	_ = h.cmd.Process.Signal(syscall.SIGTERM) // the server may have exited
	kill := time.AfterFunc(stopTimeout, func() { _ = h.cmd.Process.Kill() })
	defer kill.Stop()
	_ = h.cmd.Wait() // the exit code does not matter
	h.cmd = nil
}
