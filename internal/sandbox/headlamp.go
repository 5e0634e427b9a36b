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

// HeadlampConfig configures the front of a Headlamp server. If only Dir and
// Clusters are set, the server has no restrictions.
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
	// DynamicClusters makes the server accept clusters that users send in the
	// header KUBECONFIG.
	DynamicClusters bool
	// FirstTTL is how long the server keeps a user's cluster after the first
	// request with the header KUBECONFIG, and NextTTL how long it keeps it
	// after each later one. Defaults: 5 min and 20 s, as on the real server.
	FirstTTL, NextTTL time.Duration

	// NodeShellImage, NodeShellNamespace and PodDebugImage are the defaults for
	// clients in the answer to /config.
	NodeShellImage, NodeShellNamespace, PodDebugImage string

	// Gate is the token of the desktop app. Each request must contain it in the
	// header X-HEADLAMP_BACKEND-TOKEN. "": no token is needed.
	Gate string
	// CheckHost makes the server refuse requests whose Host header has another
	// port, or a host other than localhost and the loopback addresses.
	CheckHost bool
	// Cache enables the response cache: a GET is answered with the answer to an
	// earlier GET of the same path, even if the query differs. Requests with
	// `Connection: upgrade` bypass the cache. For details, see headlampCache.
	Cache bool
	// CacheAll makes only WebSocket handshakes bypass the cache, and not other
	// requests with `Connection: upgrade`. The real server does not do that.
	CacheAll bool
	// Page makes the server answer unknown paths with 200 and the page of the
	// dashboard, instead of 404.
	Page bool

	// The following fields simulate a proxy in front of the server.

	// LineLimit is the maximum length of a request line in bytes, including CR
	// LF. Requests with a longer line are answered with 414. 0: only the limit
	// of net/http applies.
	LineLimit int
	// Redirect is the URL to which all requests are redirected, such as that of
	// a login page. RedirectCode is the status code; default: 302.
	Redirect     string
	RedirectCode int
	// DropUpgrade removes the headers Connection and Upgrade from requests.
	DropUpgrade bool
	// RefuseWebSockets makes the proxy answer WebSocket handshakes with 403,
	// without a body.
	RefuseWebSockets bool
}

// HeadlampCluster is a cluster of a Headlamp server.
type HeadlampCluster struct {
	Name string
	// Config contains the address of the API server, and the credentials that
	// the Headlamp server uses for requests without credentials.
	Config *rest.Config
	// AuthType is "" or "oidc".
	AuthType  string
	Namespace string
	// NoMetadata makes the cluster's meta_data null.
	NoMetadata bool
	// Error, if not "", is the reason why the cluster could not be loaded.
	// /config then contains only the name and the error.
	Error string
	// Down makes the server behave as if the API server could not be reached.
	Down bool
}

// HeadlampRequest is a request that a Headlamp server has received.
type HeadlampRequest struct {
	Method, RequestURI, Host, Proto string
	Header                          http.Header
}

// Headlamp is the front of a Headlamp server. It passes requests for
// /clusters/NAME/… on to the API server of the cluster NAME, with the checks,
// answers and defects of a real Headlamp server. It does not depend on a
// sandbox, and can be in front of any API server. Its methods are safe for
// concurrent use.
type Headlamp struct {
	dir   string
	certs *certificates
	addr  string

	mu       sync.Mutex
	cfg      *HeadlampConfig // read-only; Change replaces it
	requests []HeadlampRequest
	run      *headlampRun // nil if the server is not running
}

// headlampRun is one run of the server, from Start to Kill. The cache and the
// clusters of users are lost at its end.
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

// StartHeadlamp starts the front of a Headlamp server. Its certificate is
// signed by the sandbox's certificate authority. If cfg.Clusters is nil, the
// only cluster is the sandbox, with the name main and without credentials of
// the server.
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

// listenTimeout is how long Start retries if its address is in use.
const listenTimeout = 10 * time.Second

// Start starts the server again after Kill, at the same address. It does
// nothing if the server is running.
func (h *Headlamp) Start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != nil {
		return nil
	}
	inner, err := net.Listen("tcp", h.addr)
	for begin := time.Now(); err != nil && time.Since(begin) < listenTimeout; {
		time.Sleep(20 * time.Millisecond) // an outgoing connection may be using the port
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
	run.wg.Go(func() { _ = serve() }) // the error is that of Kill closing the server
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
	_ = run.ln.Close() // an error does not change what follows
	run.ln.dropAll(false)
	run.cancel()
	_ = run.http.Close()
	run.ln.dropAll(false) // connections accepted since the first call
	run.wg.Wait()
	run.transports.close()
}

// Close stops the server, as Kill does. It does not remove files.
func (h *Headlamp) Close() { h.Kill() }

// Change calls change to modify the configuration, for requests that arrive
// later. change must not modify Dir, Addr and PlainHTTP.
func (h *Headlamp) Change(change func(*HeadlampConfig)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	cfg := *h.cfg
	cfg.Clusters = slices.Clone(cfg.Clusters)
	change(&cfg)
	h.cfg = &cfg
}

// Forget removes all clusters of users.
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

// ClusterURL returns the URL of a cluster, for the field server of a
// kubeconfig.
func (h *Headlamp) ClusterURL(cluster string) string {
	return h.URL() + "/clusters/" + url.PathEscape(cluster)
}

// Addr returns the address of the server, host:port.
func (h *Headlamp) Addr() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.addr
}

// CA returns the path of the file with the certificate of the certificate
// authority, in PEM.
func (h *Headlamp) CA() string { return filepath.Join(h.dir, "ca.crt") }

// Requests returns all requests so far, oldest first, before any header is
// changed.
func (h *Headlamp) Requests() []HeadlampRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}

// WriteKubeconfig writes a kubeconfig with a context for each cluster of the
// server. Their API servers are the URLs of ClusterURL, and their user has the
// token. The current context is that of the first cluster.
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
