package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Server is one of the two API servers. Both use the same etcd and the same
// nodes.
type Server string

const (
	// MainServer has the default settings of its version: it passes v5
	// WebSockets on to the kubelet.
	MainServer Server = "kube-apiserver"
	// TranslatingServer translates v5 WebSockets to SPDY itself, as Kubernetes
	// 1.30 to 1.35 do.
	TranslatingServer Server = "kube-apiserver-v5"
)

func (s Server) port() int {
	if s == TranslatingServer {
		return translatePort
	}
	return mainPort
}

// URL returns the server's address, https://host:port.
func (s Server) URL() string { return serverURL(s.port()) }

// Addr returns the server's address, host:port, for a proxy in front of it.
func (s Server) Addr() string { return fmt.Sprintf("%s:%d", hostIP, s.port()) }

const (
	etcdName       = "etcd"
	schedulerName  = "kube-scheduler"
	controllerName = "kube-controller-manager"
)

func (c *Cluster) kube() string { return filepath.Join(c.Dir, "bin", "kube") }

func (c *Cluster) etcd() process {
	return process{name: etcdName, argv: []string{
		"etcd", "--name=e2e", "--data-dir=" + filepath.Join(c.Dir, "etcd"),
		"--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
		"--listen-peer-urls=" + etcdPeerURL, "--initial-advertise-peer-urls=" + etcdPeerURL,
		"--initial-cluster=e2e=" + etcdPeerURL,
	}}
}

func (c *Cluster) apiServer(s Server) process {
	argv := []string{
		c.kube(), "kube-apiserver",
		"--etcd-servers=" + etcdURL,
		"--bind-address=" + hostIP,
		"--advertise-address=" + hostIP,
		fmt.Sprintf("--secure-port=%d", s.port()),
		"--service-cluster-ip-range=" + serviceCIDR,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--token-auth-file=" + c.tokenFile(),
		"--client-ca-file=" + c.pki("ca.crt"),
		"--tls-cert-file=" + c.pki("apiserver.crt"),
		"--tls-private-key-file=" + c.pki("apiserver.key"),
		"--kubelet-certificate-authority=" + c.pki("ca.crt"),
		"--kubelet-client-certificate=" + c.pki("apiserver-kubelet.crt"),
		"--kubelet-client-key=" + c.pki("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.pki("sa.pub"),
		"--service-account-signing-key-file=" + c.pki("sa.key"),
		// These times are short, so that a test can observe that pods are
		// evicted from a lost node.
		"--default-not-ready-toleration-seconds=20",
		"--default-unreachable-toleration-seconds=20",
		"--audit-policy-file=" + c.auditPolicyFile(),
		"--audit-log-path=" + c.AuditLog(s),
		"--audit-log-maxsize=50", "--audit-log-maxbackup=1", // in MB, and files
	}
	if s == TranslatingServer {
		argv = append(argv, "--feature-gates=ExtendWebSocketsToKubelet=false", "--endpoint-reconciler-type=none")
	}
	return process{name: string(s), argv: argv}
}

//go:embed audit-policy.yaml
var auditPolicy string

func (c *Cluster) auditPolicyFile() string { return c.pki("audit-policy.yaml") }

// AuditLog returns the path of the audit log of an API server. Each line is an
// event of audit.k8s.io/v1, in JSON. The file contains the requests of the users
// to pods and nodes.
func (c *Cluster) AuditLog(s Server) string {
	return filepath.Join(c.Dir, "logs", string(s)+"-audit.log")
}

func (c *Cluster) scheduler() process {
	return process{name: schedulerName, argv: []string{
		c.kube(), "kube-scheduler",
		"--kubeconfig=" + c.componentConfig("scheduler"),
		"--leader-elect=false", "--secure-port=0",
	}}
}

func (c *Cluster) controllers() process {
	return process{name: controllerName, argv: []string{
		c.kube(), "kube-controller-manager",
		"--kubeconfig=" + c.componentConfig("controller-manager"),
		"--leader-elect=false", "--secure-port=0",
		"--root-ca-file=" + c.pki("ca.crt"),
		"--service-account-private-key-file=" + c.pki("sa.key"),
		"--use-service-account-credentials=true",
		// These times are short, so that a test can observe that a lost node is
		// detected.
		"--node-monitor-period=2s", "--node-monitor-grace-period=16s",
	}}
}

// startControlPlane starts everything except the nodes, and waits until the
// main API server is ready.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	if err := c.start(c.etcd()); err != nil {
		return err
	}
	healthy := func(ctx context.Context) error { return get(ctx, http.DefaultClient, etcdURL+"/health") }
	if err := c.waitProcess(ctx, etcdName, healthy); err != nil {
		return err
	}
	if err := c.StartAPIServer(ctx, MainServer); err != nil {
		return err
	}
	// The second API server starts only when the main one is ready, because two
	// servers that initialize an empty etcd at the same time have conflicts.
	for _, p := range []process{c.controllers(), c.scheduler(), c.apiServer(TranslatingServer)} {
		if err := c.start(p); err != nil {
			return err
		}
	}
	return nil
}

// StartAPIServer starts an API server and waits until it is ready.
func (c *Cluster) StartAPIServer(ctx context.Context, s Server) error {
	if _, running := c.find(string(s)); !running {
		if err := c.start(c.apiServer(s)); err != nil {
			return err
		}
	}
	return c.WaitServer(ctx, s)
}

// StopAPIServer ends an API server with the given signal, and waits for its
// end. With SIGTERM, the server closes its connections; with SIGKILL, it does
// not.
func (c *Cluster) StopAPIServer(ctx context.Context, s Server, sig syscall.Signal) error {
	return c.stop(ctx, string(s), sig)
}

// WaitServer waits until an API server is ready. If its process ends, it
// returns an error with the end of its log.
func (c *Cluster) WaitServer(ctx context.Context, s Server) error {
	client, err := c.httpsClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	return c.waitProcess(ctx, string(s), func(ctx context.Context) error { return get(ctx, client, s.URL()+"/readyz") })
}

func (c *Cluster) httpsClient() (*http.Client, error) {
	ca, err := os.ReadFile(c.pki("ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}, nil
}

func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return err
}

var errEnded = errors.New("the process ended")

// waitProcess waits until check returns nil. If the named process ends, it
// returns an error at once.
func (c *Cluster) waitProcess(ctx context.Context, name string, check func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := waitFor(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		if _, ok := c.find(name); !ok {
			cancel(errEnded)
			return errEnded
		}
		return check(ctx)
	})
	if err != nil {
		return fmt.Errorf("%s is not ready: %w\n%s", name, err, c.logTail(name))
	}
	return nil
}

// logTail returns the path of a log and its last lines.
func (c *Cluster) logTail(name string) string {
	text, err := os.ReadFile(c.logFile(name))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) > 8 {
		lines = lines[len(lines)-8:]
	}
	for i := range lines {
		lines[i] = "  | " + lines[i]
	}
	return "log " + c.logFile(name) + " ends:\n" + strings.Join(lines, "\n")
}
