package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/yaml"
)

// HeadlampConfig configures the front of a Headlamp server. Its zero value, with
// Dir and Clusters, is a server without any restrictions.
type HeadlampConfig struct {
	// Dir receives ca.crt. It is required, and created if it does not exist.
	Dir string
	// Addr is the address to listen on. Default: 127.0.0.1:0.
	Addr string
	// PlainHTTP makes the server speak HTTP instead of HTTPS.
	PlainHTTP bool
	// BaseURL is the path below which the server answers, such as /headlamp.
	// Other paths are not found, as on the real server.
	BaseURL string

	// Clusters are the clusters of the server.
	Clusters []HeadlampCluster
	// DynamicClusters makes the server accept the clusters of its users, from
	// the header KUBECONFIG.
	DynamicClusters bool
	// FirstTTL is how long the server keeps such a cluster after the first
	// request with it, and NextTTL how long after each later request. Defaults:
	// 5 min and 20 s, as on the real server.
	FirstTTL, NextTTL time.Duration

	// NodeShellImage, NodeShellNamespace and PodDebugImage are defaults that the
	// server announces in /config.
	NodeShellImage, NodeShellNamespace, PodDebugImage string

	// Gate is the token that each request must contain in the header
	// X-HEADLAMP_BACKEND-TOKEN; "": none is needed.
	Gate string
	// CheckHost makes the server refuse requests whose Host header has another
	// port, or a host other than localhost and the loopback addresses.
	CheckHost bool
	// Cache makes the server answer a GET with the answer to an earlier GET of
	// the same path, whatever the query. Requests with `Connection: upgrade`
	// bypass the cache. For details, see headlampCache.
	Cache bool
	// CacheAll makes the cache answer such requests too, if they are not
	// WebSocket handshakes. The real server does not do that.
	CacheAll bool
	// Page makes the server answer unknown paths with 200 and the page of the
	// dashboard, instead of 404.
	Page bool

	// The rest simulates a proxy in front of the server.

	// LineLimit is the maximum length of a request line in bytes, including its
	// end. Longer ones are answered with 414. Default: no limit but that of
	// net/http.
	LineLimit int
	// Redirect is a URL to which all requests are redirected, such as that of a
	// login page, with RedirectCode (default 302).
	Redirect     string
	RedirectCode int
	// DropUpgrade removes the headers that request an upgrade to WebSocket.
	DropUpgrade bool
	// RefuseWebSockets answers WebSocket handshakes with 403, without a body.
	RefuseWebSockets bool
}

// HeadlampCluster is a cluster of a Headlamp server.
type HeadlampCluster struct {
	Name string
	// Config is how the server reaches the API server. Its credentials are the
	// server's own identity: they are used for requests that have none.
	Config *rest.Config
	// AuthType is "" or "oidc".
	AuthType  string
	Namespace string
	// NoMetadata makes the cluster's meta_data null.
	NoMetadata bool
	// Error makes the cluster one that could not be loaded: /config contains
	// only its name and the error.
	Error string
	// Down makes the server behave as if the API server refused connections.
	Down bool
}

// HeadlampRequest is a request that a Headlamp server has received.
type HeadlampRequest struct {
	Method, RequestURI, Host, Proto string
	Header                          http.Header
}

// Headlamp is the front of a Headlamp server: a server that passes requests for
// /clusters/NAME/… on to the API server of the cluster NAME, with the checks,
// answers and defects of a real one. It does not depend on a sandbox, and can be
// in front of any API server. All its methods may be called from any goroutine.
type Headlamp struct {
	dir   string
	certs *certificates
	addr  string

	mu       sync.Mutex
	cfg      *HeadlampConfig // not changed, only replaced
	requests []HeadlampRequest
	run      *headlampRun // nil if the server does not run
}

// headlampRun is the server between a start and a kill. Its cache and the
// clusters of its users are lost with it.
type headlampRun struct {
	front      *Headlamp
	ln         *listener
	http       *http.Server
	cancel     context.CancelFunc
	wg         sync.WaitGroup // the serving goroutine and all requests
	store      headlampStore
	cache      headlampCache
	transports headlampTransports
}

// StartHeadlamp starts the front of a Headlamp server, which runs until Kill or
// Close is called.
func StartHeadlamp(cfg HeadlampConfig) (*Headlamp, error) {
	certs, err := newCertificates()
	if err != nil {
		return nil, fmt.Errorf("cannot start Headlamp: %w", err)
	}
	return startHeadlamp(cfg, certs)
}

// StartHeadlamp starts the front of a Headlamp server whose certificate is
// signed by the authority of the sandbox. If the configuration has no clusters,
// the sandbox is its cluster main, without an identity of the server.
func (s *Server) StartHeadlamp(cfg HeadlampConfig) (*Headlamp, error) {
	if cfg.Clusters == nil {
		cfg.Clusters = []HeadlampCluster{{Name: "main", Config: s.RESTConfig(""), Namespace: "default"}}
	}
	return startHeadlamp(cfg, s.certs)
}

// RESTConfig returns the configuration of a client of the sandbox. user is one
// of the users of Token, or "" for a client without credentials.
func (s *Server) RESTConfig(user string) *rest.Config {
	return &rest.Config{
		Host: s.url, BearerToken: s.Token(user), TLSClientConfig: rest.TLSClientConfig{CAData: s.certs.caPEM},
	}
}

func startHeadlamp(cfg HeadlampConfig, certs *certificates) (*Headlamp, error) {
	if cfg.Dir == "" {
		return nil, errors.New("cannot start Headlamp: Dir is required")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot start Headlamp: %w", err)
	}
	h := &Headlamp{dir: dir, certs: certs, cfg: &cfg, addr: cfg.Addr}
	if h.addr == "" {
		h.addr = "127.0.0.1:0"
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot start Headlamp: %w", err)
	}
	if err := os.WriteFile(h.CA(), certs.caPEM, 0o600); err != nil {
		return nil, fmt.Errorf("cannot start Headlamp: %w", err)
	}
	return h, h.Start()
}

// listenTimeout is how long Start tries to listen on an address that is in use.
const listenTimeout = 10 * time.Second

// Start starts the server again after Kill, at the same address. It does
// nothing if the server runs.
func (h *Headlamp) Start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != nil {
		return nil
	}
	inner, err := net.Listen("tcp", h.addr)
	for begin := time.Now(); err != nil && time.Since(begin) < listenTimeout; {
		time.Sleep(20 * time.Millisecond) // an outgoing connection may use the port
		inner, err = net.Listen("tcp", h.addr)
	}
	if err != nil {
		return fmt.Errorf("cannot start Headlamp: %w", err)
	}
	h.addr = inner.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	run := &headlampRun{front: h, ln: newListener(inner), cancel: cancel}
	run.http = &http.Server{
		Handler:           http.HandlerFunc(run.serveTracked),
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: 30 * time.Second,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{h.certs.server}},
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	serve := func() error { return run.http.ServeTLS(run.ln, "", "") }
	if h.cfg.PlainHTTP {
		serve = func() error { return run.http.Serve(run.ln) }
	}
	run.wg.Go(func() { _ = serve() }) // always ends with http.ErrServerClosed or the listener's error
	h.run = run
	return nil
}

// Kill ends the server as SIGTERM ends a real one: it stops listening, and all
// connections end with an EOF, without a close frame, a status or a
// close_notify. The cache and the clusters of the users are lost.
func (h *Headlamp) Kill() {
	h.mu.Lock()
	run := h.run
	h.run = nil
	h.mu.Unlock()
	if run == nil {
		return
	}
	_ = run.ln.Close() // the server is stopped whatever the result
	run.ln.dropAll(false)
	run.cancel()
	_ = run.http.Close()
	run.ln.dropAll(false) // connections that were accepted in the meantime
	run.wg.Wait()
	run.transports.close()
}

// Close is Kill. The files are kept.
func (h *Headlamp) Close() { h.Kill() }

// Change changes the configuration, for requests that arrive later. The fields
// Dir, Addr and PlainHTTP have no effect after the start.
func (h *Headlamp) Change(change func(*HeadlampConfig)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	cfg := *h.cfg
	cfg.Clusters = slices.Clone(cfg.Clusters)
	change(&cfg)
	h.cfg = &cfg
}

// Forget makes the server lose the clusters of its users.
func (h *Headlamp) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != nil {
		h.run.store.clear()
	}
}

// URL returns the URL of the server, including the base URL.
func (h *Headlamp) URL() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	scheme := "https"
	if h.cfg.PlainHTTP {
		scheme = "http"
	}
	return scheme + "://" + h.addr + h.cfg.BaseURL
}

// ClusterURL returns the URL of a cluster, which a kubeconfig can contain as the
// server.
func (h *Headlamp) ClusterURL(cluster string) string {
	return h.URL() + "/clusters/" + url.PathEscape(cluster)
}

// Addr returns the address of the server, host:port.
func (h *Headlamp) Addr() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.addr
}

// CA returns the path of the certificate of the certificate authority, in PEM.
func (h *Headlamp) CA() string { return filepath.Join(h.dir, "ca.crt") }

// Requests returns all requests so far, oldest first, as they arrived.
func (h *Headlamp) Requests() []HeadlampRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}

// WriteKubeconfig writes a kubeconfig whose API servers are the clusters of the
// server, one context for each, and whose only user has the token. The current
// context is that of the first cluster.
func (h *Headlamp) WriteKubeconfig(path, token string) error {
	h.mu.Lock()
	clusters, ca := h.cfg.Clusters, h.certs.caPEM
	if h.cfg.PlainHTTP {
		ca = nil
	}
	h.mu.Unlock()
	cfg := clientcmdv1.Config{Kind: "Config", APIVersion: "v1", AuthInfos: []clientcmdv1.NamedAuthInfo{
		{Name: "user", AuthInfo: clientcmdv1.AuthInfo{Token: token}},
	}}
	for i, c := range clusters {
		if i == 0 {
			cfg.CurrentContext = c.Name
		}
		cfg.Clusters = append(cfg.Clusters, clientcmdv1.NamedCluster{
			Name:    c.Name,
			Cluster: clientcmdv1.Cluster{Server: h.ClusterURL(c.Name), CertificateAuthorityData: ca},
		})
		cfg.Contexts = append(cfg.Contexts, clientcmdv1.NamedContext{
			Name:    c.Name,
			Context: clientcmdv1.Context{Cluster: c.Name, AuthInfo: "user", Namespace: c.Namespace},
		})
	}
	data, err := yaml.Marshal(cfg)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
